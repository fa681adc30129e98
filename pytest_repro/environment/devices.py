"""Which process uses which device: `--repro-devices` as numbers and CPU affinity."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Hashable, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_repro.errors import UsageError

_OPTION = "--repro-devices"


@dataclass(frozen=True, slots=True)
class Share:
    """What one process gets.

    Attributes:
        device: Number of its device.
        position: Which of the named devices that is, from 0.
        count: How many devices are named.
    """

    device: int
    position: int
    count: int

    def __str__(self) -> str:
        return f"{self.device} {self.position} {self.count}"

    @classmethod
    def from_text(cls, text: str) -> Share:
        """The share that `str` wrote."""
        return cls(*map(int, text.split()))


def shares_of_workers(devices: Sequence[int], hosts: Sequence[Hashable]) -> tuple[Share, ...]:
    """The share of every worker; the workers of one host have different devices.

    Args:
        devices: Their numbers, the same on every host.
        hosts: Where each worker runs, in the order of the workers.

    Raises:
        UsageError: A host has more workers than devices.
    """
    shares: list[Share] = []
    for number, host in enumerate(hosts):
        position = hosts[:number].count(host)
        if position >= len(devices):
            raise UsageError(
                f"{_OPTION}: {hosts.count(host)} workers and {len(devices)} devices: "
                "two workers would share one",
                facts=(f"devices {ranges_text(devices)}",),
                next_step=f"pytest -n {len(devices)}, or name more devices",
            )
        shares.append(Share(devices[position], position, len(devices)))
    return tuple(shares)


def cores_of(share: Share, cores: Sequence[int]) -> tuple[int, ...]:
    """The cores of a share on a machine without devices: equally many for every share.

    Where the number does not come out even the last cores stay idle: workers with unequal numbers
    of cores would compute different bits and record under other keys.

    Args:
        share: The share.
        cores: Numbers of the cores that the process may run on.

    Raises:
        UsageError: There are fewer cores than shares.
    """
    each = len(cores) // share.count
    if not each:
        raise UsageError(
            f"{_OPTION}: {len(cores)} cores cannot be divided among {share.count} devices",
            facts=("there is no Ascend device here, so the cores are divided",),
            next_step=f"name at most {len(cores)} devices",
        )
    return tuple(sorted(cores)[share.position * each : (share.position + 1) * each])


def ranges_text(numbers: Sequence[int]) -> str:
    """``0-3,8`` for 0, 1, 2, 3, 8."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


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
