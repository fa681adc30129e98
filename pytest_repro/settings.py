"""The frozen `Settings` of a run, and the `TABLE` of options and ini keys they come from.

The command line wins over the ini file, and the ini file over the default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeVar

from pytest_repro.errors import SettingError
from pytest_repro.model.words import (
    Distance,
    Framework,
    Isolate,
    NoiseMode,
    Repeat,
    RngMode,
    Switch,
    TraceLevel,
    UpdateMode,
)

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
        raise SettingError(f"{origin}: {number} is too small, the least is {least}")
    return int(number)


def parse_envelope(text: object, *, origin: str) -> int:
    """How many runs measure an envelope: those of `auto`, or ``text`` as a whole number.

    Raises:
        SettingError: It is neither.
    """
    return ENVELOPE_RUNS if text == AUTO else parse_count(text, origin=origin, least=0)


@dataclass(frozen=True, slots=True)
class Settings:
    """The resolved settings of a run.

    Attributes:
        envelope: How many runs with perturbed noise measure an envelope; 0 for none.
        adopts_envelope: Whether to use the envelope of another key with equal inputs instead.
    """

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
    adopts_envelope: bool
    repeat: Repeat
    isolate: Isolate = Isolate.AUTO
    devices: tuple[int, ...] = ()
    report: str = ""
    summary: str = ""
    code_quality: str = ""
    plan: bool = False
    pull: bool = False
    key_facts: tuple[str, ...] = ()
    mint_cpu: Switch = Switch.OFF


def names_in(text: str) -> tuple[str, ...]:
    """The names in ``text``, separated by commas or white space, sorted, each once."""
    return tuple(sorted(set(text.replace(",", " ").split())))


def _devices(text: str) -> tuple[int, ...]:
    if not text:
        return ()
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
        # An empty name is the root folder: tensors and manifests would mix with the sources.
        raise SettingError(f"{texts['baselines'][1]}: {text('baselines')!r} is not a folder name")
    adopts_envelope = texts["envelope"][0] == AUTO
    settings = Settings(
        update=choice("update", UpdateMode),
        seed=count("seed", 0),
        baselines=text("baselines"),
        reference=choice("reference", Distance),
        weights=text("weights"),
        rng=choice("rng", RngMode),
        noise=choice("noise", NoiseMode),
        runs=count("runs", 2),
        envelope=parse_envelope(text("envelope"), origin=texts["envelope"][1]),
        adopts_envelope=adopts_envelope,
        repeat=choice("repeat", Repeat),
        envelope_seed=count("envelope-seed", 0),
        trace=choice("trace", TraceLevel),
        framework=choice("framework", Framework),
        isolate=choice("isolate", Isolate),
        devices=_devices(text("devices")),
        report=text("report"),
        summary=text("summary"),
        code_quality=text("code-quality"),
        plan=text("plan") == "on",
        pull=text("pull") == "on",
        key_facts=names_in(text("key-facts")),
        mint_cpu=choice("mint-cpu", Switch),
    )
    if settings.noise is NoiseMode.STORE and settings.update is UpdateMode.NONE:
        raise SettingError(
            "--repro-noise=store stores nothing without --repro-update",
            next_step="pytest --repro-update --repro-noise=store",
        )
    return settings


AUTO = "auto"
ENVELOPE_RUNS = 4
"""Perturbed runs by default."""

DISTURBANCE_SEED = 20_260
"""Default seed of the signs of the first perturbed run; any number would do."""


class Setting(NamedTuple):
    """One row of the table.

    Attributes:
        name: Name without the prefix: option ``--repro-<name>``, ini key ``repro_<name>``.
        default: The text when neither the command line nor the ini file sets it.
        help: What it does, in one or two sentences.
        metavar: Name of the option's value in ``--help``; ``""`` for a flag.
        kind: Name of the enum in `words` with the allowed words, if they are a fixed set.
        ini: Whether an ini key exists.
        flag_values: The spellings ``--repro-<name>=<word>`` of a flag that can take a word.
    """

    name: str
    default: str
    help: str
    metavar: str = ""
    kind: str = ""
    ini: bool = True
    flag_values: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        return f"--repro-{self.name}"

    @property
    def ini_key(self) -> str:
        return f"repro_{self.name.replace('-', '_')}"

    @property
    def choices(self) -> tuple[str, ...]:
        """Allowed words, if they are a fixed set."""
        if not self.kind:
            return ()
        from pytest_repro.model import words

        return tuple(str(member.value) for member in getattr(words, self.kind))


TABLE: tuple[Setting, ...] = (
    Setting(
        "update",
        "none",
        "Record baselines for this machine's key: `missing` only new ones, `drifted` (the bare "
        "option) also those that differ, `all` records every selected one again, `ask` shows what "
        "changes and asks on the terminal, `envelope` only measures the envelopes of unchanged "
        "ones. Bitwise unchanged entries are not written.",
        ini=False,
        flag_values=("missing", "drifted", "all", "ask", "envelope"),
    ),
    Setting(
        "plan",
        "off",
        "Say which selected tests would run how often with the other options, and about how long "
        "that takes by the last durations in pytest's cache; run nothing.",
        ini=False,
        flag_values=("on",),
    ),
    Setting(
        "pull",
        "off",
        "Fetch what the manifests of this machine's kind of hardware name from the Hub before the "
        "first test, like `pytest-repro pull`. Without it no run fetches baselines.",
        ini=False,
        flag_values=("on",),
    ),
    Setting("seed", "0", "Seed of `repro_generator` if the marker sets none.", metavar="N"),
    Setting(
        "baselines",
        "baselines",
        "Folder of the baselines, relative to the root folder.",
        metavar="DIR",
    ),
    Setting(
        "reference",
        "any",
        "How far away a reference may be: `own` (this key), `variant` (same hardware and framework "
        "version, another L2 size, CANN or suffix), `release` (another framework version), "
        "`any` (other hardware of the same kind) or `port` (a baseline that PyTorch recorded).",
        metavar="DISTANCE",
        kind="Distance",
    ),
    Setting(
        "weights",
        "seeded",
        "Weights of the fixtures' pipelines: `seeded` (made from a seed, no network), "
        "`hub@REVISION` (the Hub, safetensors only) or a folder.",
        metavar="SOURCE",
    ),
    Setting(
        "rng",
        "error",
        "What unseeded or global randomness in a marked test does: `error`, `warn` or `off`.",
        metavar="MODE",
        kind="RngMode",
    ),
    Setting(
        "noise",
        "draw",
        "`draw` draws; `store` (with --repro-update) also stores every draw as a tensor; `replay` "
        "uses the stored draws instead of drawing.",
        metavar="MODE",
        kind="NoiseMode",
    ),
    Setting(
        "runs",
        "2",
        "How many runs must agree bitwise before anything is recorded or called drift.",
        metavar="N",
    ),
    Setting(
        "isolate",
        "auto",
        "Which tests also run in a fresh process, with another hash seed and without the caches of "
        "this one: `auto` the first test of each module that is recorded, on a CPU; `on` (the "
        "bare option) every test that is recorded or drifted; `off` none.",
        kind="Isolate",
        flag_values=("on", "auto", "off"),
    ),
    Setting(
        "repeat",
        "few",
        "Which drifted tests run again, to check that they are deterministic: `all`, the first "
        "few of each module (`few`) or none (`off`). A recording always runs again.",
        metavar="WHICH",
        kind="Repeat",
    ),
    Setting(
        "envelope",
        AUTO,
        "How many runs with noise perturbed by one ULP measure the tolerance while recording. "
        "`auto` takes the envelope of another key with equal draws, weights and settings, or "
        "makes 4 runs; a number K makes at least K runs. If the runs move the result by "
        "different amounts, 16 are made. 0 measures none.",
        metavar="K",
    ),
    Setting(
        "envelope-seed",
        str(DISTURBANCE_SEED),
        "Seed of the random signs of the first perturbed run; run i adds i. Another seed measures "
        "the same envelope independently.",
        metavar="N",
    ),
    Setting(
        "trace",
        "steps",
        "What is recorded of a watched pipeline: `off`, `steps` or `cells`.",
        metavar="LEVEL",
        kind="TraceLevel",
    ),
    Setting(
        "framework",
        "auto",
        "Framework in the key: `auto` (MindSpore where installed), `mindspore`, `numpy` or "
        "`torch`, for a port's reference.",
        metavar="NAME",
        kind="Framework",
    ),
    Setting(
        "key-facts",
        "",
        "Facts that also select a baseline, by the names that `pytest-repro env` shows, e.g. "
        "`mindone.version`: their values add to the suffix of the key, so that each value has "
        "baselines of its own.",
        metavar="NAMES",
    ),
    Setting(
        "mint-cpu",
        "off",
        "Replace each `mindspore.mint` operator that has no kernel on this CPU by other operators, "
        "before a conftest.py can import mindone: mindone 0.4 and later need them. Their names are "
        "a fact in the suffix of the key.",
        kind="Switch",
        flag_values=("on", "off"),
    ),
    Setting(
        "devices",
        "",
        "One device for each worker, e.g. `0-7`, by setting `ASCEND_RT_VISIBLE_DEVICES` before "
        "MindSpore is imported. Without an Ascend device, each worker gets an equal share of the "
        "cores, and the key names the cores of a share.",
        metavar="LIST",
        ini=False,
    ),
    Setting(
        "report",
        "",
        "Write a report into this folder: report.json, an HTML page, and the observed tensors of "
        "every check that was not exact, for `pytest-repro accept`. A missing check runs twice, "
        "like a drifted one.",
        metavar="DIR",
        ini=False,
    ),
    Setting(
        "summary",
        "",
        "Write a Markdown summary of the run into this file, e.g. for a CI job.",
        metavar="FILE",
        ini=False,
    ),
    Setting(
        "code-quality",
        "",
        "Write the checks that did not pass into this file, as GitLab shows problems in a merge "
        "request: an artefact of the kind `codequality`.",
        metavar="FILE",
        ini=False,
    ),
)


_MOST_DEVICES = 1024


def parse_devices(text: str) -> tuple[int, ...]:
    """The numbers in ``0-7`` or ``0,2,4-5``, in that order; none for ``""``.

    Raises:
        SettingError: Not such a list, a range that goes down, or a device named twice.
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
        if last - first >= _MOST_DEVICES:
            raise _wrong(text, f"the range {part.strip()} names more than {_MOST_DEVICES} devices")
        found.extend(range(first, last + 1))
    twice = sorted({number for number in found if found.count(number) > 1})
    if twice:
        raise _wrong(text, f"device {twice[0]} is named twice: two workers would share it")
    return tuple(found)


def _wrong(text: str, fact: str) -> SettingError:
    return SettingError(f"--repro-devices: {text!r} is not a list of devices", facts=(fact,))
