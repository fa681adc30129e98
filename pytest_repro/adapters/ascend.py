"""Facts about an Ascend installation, read from the files that CANN and the driver leave.

Untested on a device: there was none where this was written. The places and formats are those that
CANN's documentation and MindSpore's own version check name; tests use recorded texts of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["ascend_facts", "parse_version"]

_VERSION = re.compile(r"(?im)^\s*(?:version|package_version)\s*=\s*\[?([^\s\]]+)")
_CANN = (
    "compiler/version.info",
    "opp/version.info",
    "ascend_toolkit_install.info",
    "aarch64-linux/ascend_toolkit_install.info",
    "x86_64-linux/ascend_toolkit_install.info",
    "version.cfg",
)
_HOMES = ("cann", "ascend-toolkit/latest")


def parse_version(text: str) -> str:
    """The version in a ``version.info`` or ``*_install.info`` text; ``""`` when there is none."""
    found = _VERSION.search(text)
    return found.group(1).strip() if found else ""


def ascend_facts(
    environ: Mapping[str, str], root: Path = Path("/usr/local/Ascend")
) -> dict[str, str]:
    """CANN's, the driver's and the firmware's version; ``""`` where a file does not exist.

    Args:
        environ: ``ASCEND_HOME_PATH`` names the CANN in use, as MindSpore reads it.
        root: Where driver and firmware lie.
    """
    chosen = environ.get("ASCEND_HOME_PATH", "")
    homes = [Path(chosen)] if chosen else [root / home for home in _HOMES]
    cann = next((v for home in homes for name in _CANN if (v := _version_in(home / name))), "")
    return {
        "cann.version": cann,
        "ascend.driver": _version_in(root / "driver" / "version.info"),
        "ascend.firmware": _version_in(root / "firmware" / "version.info"),
    }


def _version_in(path: Path) -> str:
    try:
        return parse_version(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
