"""The arguments of every subcommand."""

from __future__ import annotations

import argparse

from pytest_repro.cli.completion import SHELLS
from pytest_repro.model.words import Verdict
from pytest_repro.settings import TABLE, Setting

_BASELINES = next(setting for setting in TABLE if setting.name == "baselines")
_FRAMEWORK = next(setting for setting in TABLE if setting.name == "framework")


def env(parser: argparse.ArgumentParser) -> None:
    _add_framework(parser)
    _add_root(parser)
    add_json(parser)


def list_(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "glob",
        metavar="GLOB",
        nargs="?",
        default="*",
        help="Only checks that match; '*' stands for anything, and a text without '*' for every "
        "check that contains it.",
    )
    parser.add_argument(
        "--report",
        metavar="DIR",
        help="Checks of the run that wrote this report, instead of the stored ones.",
    )
    parser.add_argument(
        "--verdict",
        metavar="VERDICT",
        action="append",
        choices=[str(one) for one in Verdict],
        help="With --report: only checks with this verdict; may be given several times.",
    )
    _add_key(parser)
    add_place(parser)
    add_json(parser)


def _check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "check", metavar="CHECK", help="Id of a check, or a part of it that only one check has."
    )


def show(parser: argparse.ArgumentParser) -> None:
    _check(parser)
    _add_key(parser)
    add_place(parser)
    add_json(parser)


def diff(parser: argparse.ArgumentParser) -> None:
    for name, meaning in (
        ("first", "counts as the baseline"),
        ("second", "is measured against it"),
    ):
        parser.add_argument(
            name,
            metavar="A" if name == "first" else "B",
            help=f"What {meaning}: a key (HARDWARE/FRAMEWORK, or a part that only one key has) "
            "or the report folder of a run.",
        )
    add_check_glob(parser)
    add_place(parser)
    add_json(parser)


def matrix(parser: argparse.ArgumentParser) -> None:
    add_check_glob(parser)
    _add_key(parser)
    parser.add_argument(
        "--far",
        action="store_true",
        help="Also measure how far keys are apart, and judge it by envelope and policy; reads "
        "every tensor of a check that differs.",
    )
    parser.add_argument("--html", metavar="FILE", help="Write a heat map as one HTML page.")
    parser.add_argument("--json", metavar="FILE", help="Write JSON; '-' writes it instead of text.")
    add_place(parser)


def sensitivity(parser: argparse.ArgumentParser) -> None:
    add_check_glob(parser)
    _add_key(parser)
    parser.add_argument("--each-key", action="store_true", help="A row for each key, not a range.")
    add_place(parser)
    add_json(parser)


def policy_explain(parser: argparse.ArgumentParser) -> None:
    _check(parser)
    add_place(parser)
    add_json(parser)


def verify(parser: argparse.ArgumentParser) -> None:
    add_place(parser)
    add_json(parser)


def _yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="Delete; without it nothing changes.")


def kernels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "keys", metavar="KEY", nargs="*", help="Only these keys, and the kernels that differ."
    )
    parser.add_argument(
        "--here", action="store_true", help="Measure this machine; with keys, compare it."
    )
    _add_framework(parser)
    add_place(parser)
    add_json(parser)


def doctor(parser: argparse.ArgumentParser) -> None:
    _add_framework(parser)
    add_place(parser)
    add_json(parser)


def _add_framework(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--framework",
        metavar=_FRAMEWORK.metavar,
        choices=_FRAMEWORK.choices,
        help=f"{_FRAMEWORK.help} {_default(_FRAMEWORK)}",
    )


def prune(parser: argparse.ArgumentParser) -> None:
    _yes(parser)
    parser.add_argument(
        "--python", metavar="FILE", help="Python that collects the tests (default: this one)."
    )
    parser.add_argument(
        "--check",
        metavar="ID",
        help="Delete this check instead, whether or not its test is there; nothing is collected. "
        "The whole id, or a pattern with '*', which stands for anything.",
    )
    _add_key(parser)
    add_place(parser)


def rename(parser: argparse.ArgumentParser) -> None:
    for name, meaning in (("old", "had"), ("new", "has now")):
        parser.add_argument(
            name,
            metavar=name.upper(),
            help=f"What the test {meaning}: a folder, module, class, test or check, as ids of "
            "checks begin.",
        )
    parser.add_argument("--yes", action="store_true", help="Rename; without it nothing changes.")
    _add_key(parser)
    add_place(parser)


def migrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="Migrate; without it nothing changes.")
    add_place(parser)


def gc(parser: argparse.ArgumentParser) -> None:
    _yes(parser)
    parser.add_argument(
        "--older-than-s",
        metavar="SECONDS",
        default="3600",
        help="Keep younger files: a recording writes tensors before it names them (default: 3600).",
    )
    add_place(parser)


def completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="The shell that is to complete.")


def add_place(parser: argparse.ArgumentParser) -> None:
    """The options that say where the baselines lie."""
    _add_root(parser)
    parser.add_argument(
        f"--{_BASELINES.name}",
        metavar=_BASELINES.metavar,
        help=f"{_BASELINES.help} {_default(_BASELINES)}",
    )


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root",
        metavar="DIR",
        help="Root folder of the tests (default: the nearest from here upwards with an ini file "
        "of pytest's, or else here).",
    )


def _default(setting: Setting) -> str:
    return f"(default: {setting.ini_key} of pytest's ini file, or else {setting.default})"


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option ``--json``."""
    parser.add_argument("--json", action="store_true", help="Write JSON instead of tables.")


def _add_key(parser: argparse.ArgumentParser) -> None:
    """The option ``--key GLOB``."""
    parser.add_argument(
        "--key",
        metavar="GLOB",
        default="*",
        help="Only keys that match, e.g. 'cpu-*/mindspore-2.10.0'; '*' stands for anything, and a "
        "text without '*' for every key that contains it.",
    )


def add_check_glob(parser: argparse.ArgumentParser) -> None:
    """The option ``--check GLOB``."""
    parser.add_argument(
        "--check",
        metavar="GLOB",
        default="*",
        help="Only checks that match; '*' stands for anything, and a text without '*' for every "
        "check that contains it.",
    )
