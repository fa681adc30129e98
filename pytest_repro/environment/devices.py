"""Which device falls to which process: `--repro-devices` as numbers; touches no device."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from pytest_repro.errors import SettingError, UsageError

__all__ = ["Share", "cores_of", "parse_devices", "ranges_text", "shares_of_workers"]

_OPTION = "--repro-devices"
_MOST = 1024
"""More devices than any machine has; a range beyond is a slip of the finger."""


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


def parse_devices(text: str) -> tuple[int, ...]:
    """The numbers that ``0-7`` or ``0,2,4-5`` names, in that order; none for ``""``.

    Raises:
        SettingError: No such list, a range that goes down, or a device named twice.
    """
    if not text:
        return ()
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,9})\s*(?:-\s*([0-9]{1,9})\s*)?", part, re.ASCII)
        if match is None:
            raise _wrong(text, f"{part.strip()!r} is neither a number nor a range such as 0-7")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise _wrong(text, f"the range {part.strip()} goes down")
        if last - first >= _MOST:
            raise _wrong(text, f"the range {part.strip()} names more than {_MOST} devices")
        found.extend(range(first, last + 1))
    twice = sorted({number for number in found if found.count(number) > 1})
    if twice:
        raise _wrong(text, f"device {twice[0]} is named twice: two workers would share it")
    return tuple(found)


def _wrong(text: str, fact: str) -> SettingError:
    return SettingError(f"{_OPTION}: {text!r} is no list of devices", facts=(fact,))


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
    of cores would compute other bits and record under other keys.

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
