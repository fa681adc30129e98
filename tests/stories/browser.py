"""A real browser without a screen, driven through chromedriver by the W3C WebDriver protocol."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

CHROMEDRIVER = shutil.which("chromedriver")
_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
WHY_NOT = "" if CHROMEDRIVER and CHROMIUM else "no chromium with chromedriver here"

# Keys by their WebDriver names.
TAB, ENTER, HOME, RIGHT, DOWN = "\ue004", "\ue007", "\ue011", "\ue014", "\ue015"
CONTROL = "\ue009"
_STARTS_WITHIN_S = 60
_OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1280,1000",
)  # fmt: skip

# The least ratio of the lightness of a text and of what it stands on (WCAG 2.1), and whose it is.
_LEAST_CONTRAST = r"""(() => {
  const light = (text) => {
    const parts = text.match(/[0-9.]+/g).map(Number).slice(0, 3).map((one) => one / 255);
    const [r, g, b] = parts.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const clear = (color) => /, 0\)$/.test(color);
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (!clear(color)) return color;
    }
    return matchMedia("(prefers-color-scheme: dark)").matches ? "rgb(18, 18, 18)" : "rgb(255, 255, 255)";
  };
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !one.getClientRects().length) continue;
    const sides = [light(getComputedStyle(one).color), light(ground(one))].sort((x, y) => x - y);
    found.push([(sides[1] + 0.05) / (sides[0] + 0.05), one.textContent.trim()]);
  }
  return found.sort((x, y) => x[0] - y[0])[0];
})()"""  # noqa: E501


class Browser:
    """One window; a context manager.

    Args:
        folder: Where its profile may lie.
        options: More options of chromium.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._address = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [str(CHROMEDRIVER), f"--port={port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wanted = {
            "goog:chromeOptions": {
                "binary": CHROMIUM,
                "args": [*_OPTIONS, f"--user-data-dir={folder / 'profile'}", *options],
            },
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        self._session = ""
        try:
            answer = self._start({"capabilities": {"alwaysMatch": wanted}})
        except BaseException:
            self._end()
            raise
        self._session = f"/session/{answer['sessionId']}"

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._ask("DELETE", "")
        finally:
            self._end()

    def open(self, path: Path) -> None:
        self._ask("POST", "/url", {"url": path.as_uri()})

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return self._ask("POST", "/execute/sync", {"script": f"return {script};", "args": []})

    def press(self, *keys: str, holding: str = "") -> None:
        """Press keys one after another, as a person does; text counts as its letters."""
        actions = [{"type": "keyDown", "value": holding}] if holding else []
        for key in "".join(keys):
            actions += [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        actions += [{"type": "keyUp", "value": holding}] if holding else []
        keyboard = {"type": "key", "id": "keyboard", "actions": actions}
        self._ask("POST", "/actions", {"actions": [keyboard]})

    def least_contrast(self) -> tuple[float, str]:
        """How well the faintest text can be read, and which it is."""
        ratio, text = self.run(_LEAST_CONTRAST)
        return ratio, text

    def complaints(self) -> list[str]:
        """What the browser wrote to its console: errors, and what its policy forbade."""
        return [one["message"] for one in self._ask("POST", "/se/log", {"type": "browser"})]

    def _start(self, body: Any) -> Any:
        ends_s = time.monotonic() + _STARTS_WITHIN_S
        while not self._listens():
            if time.monotonic() > ends_s:
                raise RuntimeError("chromedriver does not answer")
            time.sleep(0.1)
        try:
            return self._ask("POST", "/session", body)
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from error

    def _listens(self) -> bool:
        try:
            return bool(self._ask("GET", "/status")["ready"])
        except urllib.error.URLError:
            return False

    def _ask(self, method: str, place: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self._address + self._session + place if self._session else self._address + place,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)["value"]

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
