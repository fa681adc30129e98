"""The frozen `Settings` of a run, resolved from mappings handed in.

The order of precedence is total: command line, then ini file, then default (`settings_table`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from pytest_repro.errors import SettingError
from pytest_repro.model.words import (
    Distance,
    Framework,
    NoiseMode,
    RngMode,
    Switch,
    TraceLevel,
    UpdateMode,
)
from pytest_repro.settings_table import TABLE

__all__ = [
    "Framework",
    "NoiseMode",
    "RngMode",
    "Settings",
    "Switch",
    "TraceLevel",
    "UpdateMode",
    "parse_choice",
    "parse_count",
    "settings_from",
]

_Enum = TypeVar("_Enum", bound=Enum)


def parse_choice(kind: type[_Enum], text: object, *, origin: str) -> _Enum:
    """The member of ``kind`` spelt ``text``.

    Raises:
        SettingError: No such member; the allowed words are named.
    """
    if isinstance(text, kind):
        return text
    try:
        return kind(text)
    except ValueError:
        words = ", ".join(str(member.value) for member in kind)
        raise SettingError(f"{origin}: {text!r} is not one of {words}") from None


def parse_count(text: object, *, origin: str, least: int) -> int:
    """``text`` as a whole number of at least ``least``.

    Raises:
        SettingError: Not a whole number, or too small.
    """
    try:
        if isinstance(text, (bool, float)):
            raise TypeError
        number = int(text)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise SettingError(f"{origin}: {text!r} is not a whole number") from None
    if number < least:
        raise SettingError(f"{origin}: {number} is below {least}")
    return int(number)


@dataclass(frozen=True, slots=True)
class Settings:
    """The resolved settings of a run."""

    update: UpdateMode
    seed: int
    baselines: str
    reference: Distance
    weights: str
    rng: RngMode
    noise: NoiseMode
    runs: int
    envelope: int
    envelope_seed: int
    trace: TraceLevel
    framework: Framework
    isolate: bool = False
    devices: tuple[int, ...] = ()
    report: str = ""
    summary: str = ""
    msprobe: str = ""


def _devices(text: str) -> tuple[int, ...]:
    if not text:
        return ()
    from pytest_repro.environment.devices import parse_devices

    return parse_devices(text)


def settings_from(options: Mapping[str, object], ini: Mapping[str, object]) -> Settings:
    """The settings of a run from the command line's and the ini file's texts.

    Args:
        options: Setting name to text; ``None`` or absent when not given on the command line.
        ini: The same for the ini file; ``""`` counts as not given.

    Raises:
        SettingError: A value is not allowed; the message names the option or ini key.
    """
    texts: dict[str, tuple[object, str]] = {}
    for setting in TABLE:
        given = options.get(setting.name)
        if given is not None:
            texts[setting.name] = (given, setting.option)
        elif setting.ini and ini.get(setting.name):
            texts[setting.name] = (ini[setting.name], f"ini key {setting.ini_key}")
        else:
            texts[setting.name] = (setting.default, setting.option)

    def choice(name: str, kind: type[_Enum]) -> _Enum:
        return parse_choice(kind, texts[name][0], origin=texts[name][1])

    def count(name: str, least: int) -> int:
        return parse_count(texts[name][0], origin=texts[name][1], least=least)

    text: Callable[[str], str] = lambda name: str(texts[name][0])  # noqa: E731
    if not text("baselines").strip():
        # It would be the root folder itself, with tensors and manifests among the sources.
        raise SettingError(f"{texts['baselines'][1]}: {text('baselines')!r} names no folder")
    settings = Settings(
        update=choice("update", UpdateMode),
        seed=count("seed", 0),
        baselines=text("baselines"),
        reference=choice("reference", Distance),
        weights=text("weights"),
        rng=choice("rng", RngMode),
        noise=choice("noise", NoiseMode),
        runs=count("runs", 2),
        envelope=count("envelope", 0),
        envelope_seed=count("envelope-seed", 0),
        trace=choice("trace", TraceLevel),
        framework=choice("framework", Framework),
        isolate=choice("isolate", Switch) is Switch.ON,
        devices=_devices(text("devices")),
        report=text("report"),
        summary=text("summary"),
        msprobe=text("msprobe"),
    )
    if settings.noise is NoiseMode.STORE and settings.update is UpdateMode.NONE:
        raise SettingError(
            "--repro-noise=store stores nothing without --repro-update",
            next_step="pytest --repro-update --repro-noise=store",
        )
    return settings
