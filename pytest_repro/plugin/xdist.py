"""Assigns `--repro-devices` to the workers of a distributed run, or to the only process.

xdist restarts a crashed worker from the same specification, so it gets the same device.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

_VARIABLE = "PYTEST_REPRO_DEVICE"
"""Tells a worker its share before it imports anything; removed when it is read."""


def is_distributed(options: Any) -> bool:
    """Whether workers run the tests, by pytest's parsed options."""
    return bool(getattr(options, "numprocesses", None) or getattr(options, "tx", None))


def occupy_own(options: Any) -> str:
    """Limit this process to its device or cores if it runs tests; returns which, or ``""``.

    Raises:
        UsageError: That is not possible.
    """
    carried = os.environ.pop(_VARIABLE, "")
    asked = getattr(options, "repro_option_devices", None) or ""
    if not carried and (not asked or is_distributed(options)):
        return ""
    from pytest_repro.environment.devices import Share, occupy
    from pytest_repro.settings import parse_devices

    if carried:
        return occupy(Share.from_text(carried))
    devices = parse_devices(asked)
    return occupy(Share(devices[0], 0, len(devices)))


def assign(devices: Sequence[int], specs: Sequence[Any]) -> None:
    """Give every worker its device, through the environment that execnet starts it with.

    Raises:
        UsageError: There are more workers than devices, or more devices than cores to divide.
    """
    from pytest_repro.environment.devices import has_ascend, share_of_cores, shares_of_workers

    shares = shares_of_workers(devices, [_host(spec) for spec in specs])
    for spec, share in zip(specs, shares, strict=True):
        if spec.popen and not has_ascend():
            # The worker would notice, too, but xdist shows a worker's error as a crash.
            share_of_cores(share)
        spec.env[_VARIABLE] = str(share)


def _host(spec: Any) -> str:
    return str(spec.ssh or spec.socket or spec.vagrant_ssh or spec.via or "here")


def device_lines(devices: Mapping[str, str], keys: Sequence[str]) -> list[str]:
    """The closing lines about the device and key of each worker."""
    if not devices:
        return []
    named = sorted(devices.items())
    parts = [f"{worker}: {device}" if worker else device for worker, device in named]
    key = f"; key {', '.join(sorted(set(keys)))}" if keys else ""
    return [f"devices: {', '.join(parts)}{key}"]
