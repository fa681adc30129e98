"""Settings from texts: the defaults, who wins, what an ini key may say, and what is refused."""

from __future__ import annotations

from dataclasses import fields

import pytest

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
from pytest_repro.settings import TABLE, Settings, parse_choice, parse_count, settings_from

BY_NAME = {setting.name: setting for setting in TABLE}


def test_the_defaults_are_those_of_the_reference_page():
    assert settings_from({}, {}) == Settings(
        update=UpdateMode.NONE,
        seed=0,
        baselines="baselines",
        reference=Distance.ANY,
        weights="seeded",
        rng=RngMode.ERROR,
        noise=NoiseMode.DRAW,
        runs=2,
        envelope=4,
        envelope_seed=20260,
        trace=TraceLevel.STEPS,
        framework=Framework.AUTO,
        adopts_envelope=True,
        repeat=Repeat.FEW,
        isolate=Isolate.AUTO,
        devices=(),
        report="",
        summary="",
        plan=False,
        key_facts=(),
        mint_cpu=Switch.OFF,
    )


def test_settings_made_without_the_later_ones_have_their_defaults():
    usual = settings_from({}, {})
    names = [one.name for one in fields(Settings)]
    early = {name: getattr(usual, name) for name in names[: names.index("isolate")]}
    assert Settings(**early) == usual


def test_every_setting_can_be_given_on_the_command_line():
    found = settings_from(
        {
            "update": "all",
            "seed": "7",
            "baselines": "store",
            "reference": "own",
            "weights": "here",
            "rng": "warn",
            "noise": "store",
            "runs": "3",
            "envelope": "16",
            "envelope-seed": "5",
            "trace": "cells",
            "framework": "numpy",
            "repeat": "off",
            "isolate": "on",
            "devices": "0-1,4",
            "report": "out",
            "summary": "page.md",
            "key-facts": "os.name mindone.version,os.name",
            "mint-cpu": "on",
        },
        {},
    )
    assert found == Settings(
        update=UpdateMode.ALL,
        seed=7,
        baselines="store",
        reference=Distance.OWN,
        weights="here",
        rng=RngMode.WARN,
        noise=NoiseMode.STORE,
        runs=3,
        envelope=16,
        envelope_seed=5,
        trace=TraceLevel.CELLS,
        framework=Framework.NUMPY,
        adopts_envelope=False,
        repeat=Repeat.OFF,
        isolate=Isolate.ON,
        devices=(0, 1, 4),
        report="out",
        summary="page.md",
        key_facts=("mindone.version", "os.name"),
        mint_cpu=Switch.ON,
    )


def test_the_command_line_wins_over_the_ini_file_and_that_over_the_default():
    assert settings_from({"seed": None}, {"seed": ""}).seed == 0
    assert settings_from({"seed": None}, {"seed": "7"}).seed == 7
    assert settings_from({"seed": "0"}, {"seed": "7"}).seed == 0


def test_no_ini_file_makes_a_run_write_or_divides_devices():
    given = {"update": "all", "devices": "0-7", "report": "r", "summary": "s", "plan": "on"}
    given |= {"pull": "on", "code-quality": "q"}
    assert settings_from({}, given) == settings_from({}, {})
    assert {setting.name for setting in TABLE if not setting.ini} == given.keys()


def test_an_option_and_an_ini_key_are_spelt_from_the_name():
    setting = BY_NAME["envelope-seed"]
    assert (setting.option, setting.ini_key) == ("--repro-envelope-seed", "repro_envelope_seed")


def test_the_choices_of_a_setting_are_the_words_that_it_takes():
    assert BY_NAME["reference"].choices == ("own", "variant", "release", "any", "port")
    for setting in TABLE:
        for word in setting.choices:
            assert settings_from({setting.name: word, "update": "all"}, {})


@pytest.mark.parametrize(
    ("name", "least"), [("seed", 0), ("runs", 2), ("envelope", 0), ("envelope-seed", 0)]
)
def test_the_least_number_is_taken_and_one_less_is_refused(name, least):
    field = name.replace("-", "_")
    assert getattr(settings_from({name: str(least)}, {}), field) == least
    with pytest.raises(
        SettingError, match=f"^--repro-{name}: {least - 1} is too small, the least is {least}$"
    ):
        settings_from({name: str(least - 1)}, {})


def test_a_fault_names_the_place_where_the_value_stands():
    with pytest.raises(SettingError, match=r"^--repro-seed: 'x' is not a whole number$"):
        settings_from({"seed": "x"}, {"seed": "1"})
    with pytest.raises(SettingError, match=r"^ini key repro_seed: 'x' is not a whole number$"):
        settings_from({}, {"seed": "x"})
    with pytest.raises(SettingError, match=r"^--repro-rng: 'loud' is not one of error, warn, off$"):
        settings_from({"rng": "loud"}, {})
    with pytest.raises(SettingError, match=r"^ini key repro_rng: 'loud' is not one of"):
        settings_from({}, {"rng": "loud"})


@pytest.mark.parametrize("value", [True, 2.0, 2.5, None, "2.0", "", "two", [2]])
def test_a_marker_argument_that_is_no_whole_number_is_refused(value):
    with pytest.raises(SettingError, match=r"^seed: .* is not a whole number$"):
        parse_count(value, origin="seed", least=0)


def test_a_marker_argument_may_be_a_number_or_its_text():
    assert parse_count(3, origin="seed", least=3) == parse_count("3", origin="seed", least=3) == 3


def test_a_choice_is_read_by_its_word_only():
    assert parse_choice(RngMode, "warn", origin="rng") is RngMode.WARN
    assert parse_choice(RngMode, RngMode.WARN, origin="rng") is RngMode.WARN
    for wrong in ("WARN", "", None, 1):
        with pytest.raises(SettingError, match="is not one of error, warn, off"):
            parse_choice(RngMode, wrong, origin="rng")


@pytest.mark.parametrize("empty", ["", "  "])
def test_the_root_folder_itself_is_no_folder_of_baselines(empty):
    with pytest.raises(SettingError, match=f"^--repro-baselines: '{empty}' is not a folder name$"):
        settings_from({"baselines": empty}, {})
    with pytest.raises(SettingError, match=r"^ini key repro_baselines: '  ' is not a folder name$"):
        settings_from({}, {"baselines": "  "})


def test_stored_noise_needs_something_that_is_recorded():
    with pytest.raises(SettingError, match="stores nothing without --repro-update") as error:
        settings_from({"noise": "store"}, {})
    assert error.value.next_step == "pytest --repro-update --repro-noise=store"
    assert settings_from({"noise": "replay"}, {}).noise is NoiseMode.REPLAY
    assert settings_from({"update": "missing"}, {}).update is UpdateMode.MISSING
    stored = settings_from({"noise": "store", "update": "missing"}, {})
    assert stored.noise is NoiseMode.STORE
