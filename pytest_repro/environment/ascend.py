"""What an Ascend device and its software call themselves.

Untested on a device: no Ascend was at hand. The files are read in the formats that Huawei's and
the projects' pages print; the texts are recorded in the tests.
"""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

_INSTALLED = Path("/usr/local/Ascend")
_FAILS = (
    *(ImportError, AttributeError, OSError, RuntimeError, ValueError),
    subprocess.TimeoutExpired,
)
_NPU_SMI_TIMEOUT_S = 30.0
# A row of the table of `npu-smi info` that begins a card: its number and its name.
_CARD = re.compile(r"^\|\s*[0-9]+\s+((?:Ascend)?[0-9]{3}[0-9A-Za-z_-]*)\s*\|", re.MULTILINE)


def read_soc_name(*sources: Callable[[], str]) -> str:
    """The exact SoC name from the first source that knows one; ``""`` when none does.

    Args:
        sources: Asked in order after CANN's own ``acl.get_soc_name()``, which documents the exact
            name. A source that fails is skipped.
    """
    for source in (_ask_acl, *sources):
        try:
            name = str(source() or "").strip()
        except _FAILS:
            continue
        if name:
            return name
    return ""


def ask_npu_smi(command: str = "npu-smi") -> str:
    """The SoC that ``npu-smi info`` names; ``""`` where it fails or names several."""
    done = subprocess.run(
        [command, "info"],
        capture_output=True,
        text=True,
        check=False,
        timeout=_NPU_SMI_TIMEOUT_S,
    )
    return soc_of_table(done.stdout) if done.returncode == 0 else ""


def soc_of_table(text: str) -> str:
    """The name of the cards in the table of ``npu-smi info``; ``""`` unless all have the same.

    A3 cards are shown as plain ``Ascend910``, the name of a family, which makes no key.
    """
    names = {name.removeprefix("Ascend") for name in _CARD.findall(text)}
    return f"Ascend{names.pop()}" if len(names) == 1 else ""


def cann_version(
    variables: Mapping[str, str],
    *,
    installed: Path = _INSTALLED,
    machine: str | None = None,
) -> str:
    """Version of CANN, ``""`` when none is found.

    Of the installation that ``ASCEND_HOME_PATH`` names, as CANN's ``set_env.sh`` sets it. Without
    it, of the default folders ``cann`` and ``ascend-toolkit/latest``; if these are two versions,
    the one in use is not known and the answer is ``""``.
    """
    arch = machine if machine is not None else platform.machine()
    home = variables.get("ASCEND_HOME_PATH", "")
    if home and (version := _installed_version(Path(home), arch)):
        return version
    folders = (installed / "cann", installed / "ascend-toolkit/latest")
    found = {_installed_version(folder, arch) for folder in folders} - {""}
    return found.pop() if len(found) == 1 else ""


def _installed_version(folder: Path, arch: str) -> str:
    """The release name of a CANN installation, or else the version of its compiler."""
    named = _value(folder / f"{arch}-linux/ascend_toolkit_install.info", "version")
    pair = _value(folder / "version.cfg", "runtime_running_version")  # component:release
    release = pair.rpartition(":")[2].removeprefix("CANN-")
    return named or release or _value(folder / "compiler/version.info", "version")


def driver_version(*, installed: Path = _INSTALLED) -> str:
    """Version of the NPU driver from ``driver/version.info``; ``""`` when there is none."""
    return _value(installed / "driver/version.info", "version")


def firmware_version(*, installed: Path = _INSTALLED) -> str:
    """Version of the NPU firmware from ``firmware/version.info``; ``""`` when there is none."""
    return _value(installed / "firmware/version.info", "version")


def _value(path: Path, name: str) -> str:
    """The value of a line ``name=value``; the name in any case, since the files differ in it."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(rf"^\s*{name}\s*=\s*(\S+)", text, re.MULTILINE | re.IGNORECASE)
    return found[1].strip("[]") if found else ""


def _ask_acl() -> str:
    # pyACL, a part of CANN that no package index has.
    from importlib import import_module

    return str(import_module("acl").get_soc_name() or "")
