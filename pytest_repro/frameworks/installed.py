"""Which packages are installed: their versions and commits."""

from __future__ import annotations

import json
import os
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from importlib.metadata import version as distribution_version
from pathlib import Path
from urllib.parse import unquote, urlsplit

_GIT_TIMEOUT_S = 5.0


def package_version(name: str) -> str:
    """Version of an installed distribution, without importing it; ``""`` if absent."""
    try:
        return distribution_version(name)
    except PackageNotFoundError:
        return ""


def package_commit(name: str) -> str:
    """Git commit of an installed distribution; ``""`` if unknown.

    It is known if pip installed from a repository (``direct_url.json``, PEP 610), or in place from
    a checkout; then ``+`` at the end says that its Python code has changes.
    """
    try:
        origin = json.loads(distribution(name).read_text("direct_url.json") or "{}")
        commit = str(origin.get("vcs_info", {}).get("commit_id", ""))
        place = urlsplit(str(origin.get("url", "")))
        if commit or place.scheme != "file" or not origin.get("dir_info", {}).get("editable"):
            return commit
    except (PackageNotFoundError, ValueError, AttributeError):
        return ""
    facts = dict(git_facts(Path(unquote(place.path))))
    return facts["code.commit"] + ("+" if facts["code.dirty"] == "yes" else "")


def git_facts(folder: Path, *, command: str = "git") -> tuple[tuple[str, str], ...]:
    """``code.commit`` and ``code.dirty`` (``yes``, ``no``) of the checkout around ``folder``.

    Both are ``""`` without a checkout, a commit or git; never an error.
    """
    commit = _git(folder, command, "rev-parse", "HEAD") or ""
    # Only Python counts: recorded baselines must not make the code look changed.
    status = _git(folder, command, "status", "--porcelain", "--untracked-files=no", "--", "*.py")
    dirty = "" if not commit or status is None else ("yes" if status else "no")
    return (("code.commit", commit), ("code.dirty", dirty))


def _git(folder: Path, command: str, *arguments: str) -> str | None:
    """The command's output without its line end; ``None`` if it failed."""
    # Without this, status would write the index of the checkout.
    variables = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            [command, "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
            env=variables,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
