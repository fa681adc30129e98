"""What an Ascend device and its software call themselves.

Untested on a device: no Ascend was at hand. The files are read in the formats that Huawei's and
the projects' pages print; the texts are recorded in the tests.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

_INSTALLED = Path("/usr/local/Ascend")


def read_soc_name(*sources: Callable[[], str]) -> str:
    """The exact SoC name from the first source that knows one; ``""`` when none does.

    Args:
        sources: Asked in order after CANN's own ``acl.get_soc_name()``, which documents the exact
            name. A source that fails is passed over.
    """
    for source in (_ask_acl, *sources):
        try:
            name = str(source() or "").strip()
        except (ImportError, AttributeError, OSError, RuntimeError, ValueError):
            continue
        if name:
            return name
    return ""


def cann_version(
    variables: Mapping[str, str],
    *,
    installed: Path = _INSTALLED,
    machine: str | None = None,
) -> str:
    """Version of CANN, ``""`` when none is found.

    Read, in this order: ``compiler/version.info`` of ``ASCEND_HOME_PATH`` (the file that MindSpore
    itself checks), the ``ascend_toolkit_install.info`` there, and the one of the default folders
    ``cann`` and ``ascend-toolkit/latest``.
    """
    arch = machine if machine is not None else platform.machine()
    for path in _cann_files(variables.get("ASCEND_HOME_PATH", ""), installed, arch):
        version = _value(path, "version")
        if version:
            return version
    return ""


def driver_version(*, installed: Path = _INSTALLED) -> str:
    """Version of the NPU driver from ``driver/version.info``; ``""`` when there is none."""
    return _value(installed / "driver/version.info", "version")


def firmware_version(*, installed: Path = _INSTALLED) -> str:
    """Version of the NPU firmware from ``firmware/version.info``; ``""`` when there is none."""
    return _value(installed / "firmware/version.info", "version")


def _cann_files(home: str, installed: Path, arch: str) -> Iterator[Path]:
    install_info = f"{arch}-linux/ascend_toolkit_install.info"
    if home:
        yield Path(home) / "compiler/version.info"
        yield Path(home) / install_info
    yield installed / "cann" / install_info
    yield installed / "ascend-toolkit/latest" / install_info


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
