"""Confines this process to its device: an Ascend by its variable, else a share of the cores.

Untested on a device: no Ascend was at hand. That CANN reads ``ASCEND_RT_VISIBLE_DEVICES`` when it
is first used is Huawei's documentation; what is tested is that the variable is set before that.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, MutableMapping
from pathlib import Path

from pytest_repro.environment.devices import Share, cores_of, ranges_text
from pytest_repro.errors import UsageError

__all__ = ["VISIBLE", "has_ascend", "occupy", "share_of_cores"]

VISIBLE = "ASCEND_RT_VISIBLE_DEVICES"
_EARLY = ("mindspore", "numpy")
"""Once imported they have counted the cores, and MindSpore may have opened its device."""


def has_ascend(dev: Path = Path("/dev")) -> bool:
    """Whether the driver shows an Ascend device: ``/dev/davinci0`` and so on."""
    return any(re.fullmatch(r"davinci[0-9]+", path.name) for path in dev.glob("davinci*"))


def occupy(
    share: Share,
    *,
    variables: MutableMapping[str, str] = os.environ,
    loaded: Collection[str] = sys.modules,
) -> str:
    """Confine this process to its share and say to what, in words.

    Raises:
        UsageError: It is too late, the device is not ours to use, or the cores do not suffice.
    """
    late = [name for name in _EARLY if name in loaded]
    if late:
        raise UsageError(
            f"--repro-devices: {late[0]} was imported before the device could be chosen",
            facts=("a plugin of pytest imports it, or an entry of -p",),
            next_step="leave that plugin out with -p no:NAME",
        )
    if has_ascend():
        _choose_ascend(share, variables)
        return f"Ascend device {share.device}"
    cores = share_of_cores(share)
    os.sched_setaffinity(0, cores)
    return f"{'core' if len(cores) == 1 else 'cores'} {ranges_text(cores)}"


def share_of_cores(share: Share) -> tuple[int, ...]:
    """The cores of a share of this process's.

    Raises:
        UsageError: The cores do not suffice, or this system cannot confine a process to some.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError("--repro-devices: this system cannot confine a process to some cores")
    return cores_of(share, sorted(os.sched_getaffinity(0)))


def _choose_ascend(share: Share, variables: MutableMapping[str, str]) -> None:
    allowed = variables.get(VISIBLE)
    if allowed is not None and str(share.device) not in re.split(r"\s*,\s*", allowed.strip()):
        raise UsageError(
            f"--repro-devices: device {share.device} is not among those that this process may use",
            facts=(f"{VISIBLE}={allowed}",),
        )
    variables[VISIBLE] = str(share.device)
