"""Writes docs/reference.md from the tables that the plugin itself is made of.

Run: ``python docs/make_reference.py``; ``tests/docs/test_reference.py`` fails when the page is old.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from pytest_repro.checking.spec import MARKER_ARGUMENTS
from pytest_repro.cli.app import app
from pytest_repro.model.words import Cause, Verdict
from pytest_repro.plugin import fixtures
from pytest_repro.plugin import suite as suite_module
from pytest_repro.settings import TABLE, Setting
from pytest_repro.tolerance.bounds import BOUNDS, STATISTIC_NAMES
from pytest_repro.tolerance.policy import FIELDS

PAGE = Path(__file__).parent / "reference.md"

_SIGNATURES = {
    "repro_check": "repro_check(value, name=None, *, tolerance=None, reference=None)",
    "repro_disturb": "repro_disturb(tensor)",
    "repro_generators": "repro_generators(count)` or `repro_generators(seeds=[...])",
    "repro_watch": "repro_watch(pipeline, name='')",
}


def reference() -> str:
    """The page as text."""
    parts = (_HEAD, _options(), _marker(), _fixtures(), _tolerances(), _policy(), _words())
    return "\n\n".join([*parts, _commands()]) + "\n"


_HEAD = """# Reference

Written by `python docs/make_reference.py` from the tables in the code; do not edit. The command line
wins over the ini file, the ini file over the default."""


def _options() -> str:
    head = "## Options and ini keys\n\n| option | ini key | default | what it does |\n| --- | --- | --- | --- |"
    suite = f"| - | `{suite_module.KEY}` | none | {_cell(suite_module.HELP)} |"
    return "\n".join([head, *(_option(one) for one in TABLE), suite])


def _option(one: Setting) -> str:
    if one.flag_values:
        joined = "\\|".join(one.flag_values)
        words = f"[={joined}]" if len(one.flag_values) > 1 else ""
    else:
        words = f" {one.metavar}"
    ini = f"`{one.ini_key}`" if one.ini else "-"
    default = f"`{one.default}`" if one.default else "none"
    return f"| `{one.option}{words}` | {ini} | {default} | {_cell(one.help)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _marker() -> str:
    rows = (f"| `{name}` | {_cell(text)} |" for name, text in MARKER_ARGUMENTS.items())
    head = (
        "## Arguments of `@pytest.mark.repro(...)` and of `pytest_repro.repro(...)`\n\n"
        "All have names. `name` belongs to the decorator.\n\n| argument | meaning |\n| --- | --- |"
    )
    return "\n".join([head, *rows])


def _fixtures() -> str:
    head = "## Fixtures\n\n| fixture | what it gives |\n| --- | --- |"
    values = (
        "\nA value is a numpy array, a MindSpore tensor, a picture of PIL, anything with "
        "`__array__`, a number, or a dict, list, tuple or dataclass of those. None of them may be "
        "empty; `None` counts inside of them. Container kinds, names of fields and columns, and the "
        "modes of pictures are part of the value. Fixtures are of one test; a fixture of wider scope, or "
        "`setUpClass`, cannot have them."
    )
    return "\n".join([head, *_fixture_rows(), values])


def _fixture_rows() -> Iterator[str]:
    for name in sorted({*fixtures.FIXTURES, "repro_environment", "repro_shared_noise"}):
        text = inspect.getdoc(_function(name)) or ""
        first = " ".join(text.split("\n\n")[0].split()).replace("``", "`")
        yield f"| `{_SIGNATURES.get(name, name)}` | {_cell(first)} |"


def _function(name: str) -> object:
    # pytest 8.4 made fixtures objects of their own; before that they are the function itself.
    made = fixtures.PIPELINES.get(name) or getattr(fixtures, name)
    return getattr(made, "_fixture_function", made)


def _tolerances() -> str:
    rows = "\n".join(f"| `{one.name}` | {one.meaning} |" for one in BOUNDS)
    statistics = ", ".join(f"`{name}`" for name in STATISTIC_NAMES)
    return (
        '## Tolerances\n\n`"exact"`, `"measured"`, or a mapping of bounds, all of which must hold '
        "(`o` is observed, `b` the baseline):\n\n| bound | what it bounds |\n"
        f"| --- | --- |\n{rows}\n"
        f"| {statistics} | that statistic of the array: a number is its `rtol`, "
        "`{atol: ..., rtol: ...}` is both |\n\n"
        "NaN and infinity must be in the same places, unless their counts are bounded. "
        "The nearest tolerance wins: the call, the marker, `policy.yaml`, the default of the "
        "distance."
    )


def _policy() -> str:
    fields = {
        "check": "which checks: a glob over whole ids, `*` matches anything",
        "tolerance": "as above",
        "reference": "how far away a reference may be: own, variant, release or any",
        "factor": "how many envelopes a measured tolerance allows (4)",
        "ceiling": "the rel_l2 above which a fallback proves nothing",
        "inputs": "`noise`, `weights` or `settings`, or a list of them: they may differ, and the "
        "closing lines say that they do; needs a reason",
        "reason": "why; needed where a number loosens a judgement",
    }
    assert set(fields) == {"check", *FIELDS, "reason"}, "a key of a rule is missing here"
    rows = "\n".join(f"| `{name}` | {text} |" for name, text in fields.items())
    return (
        "## `baselines/policy.yaml`\n\n`schema: 1` and a list `rules:`. Of all rules whose `check` "
        "matches, the last one that sets a key decides it.\n\n| key of a rule | meaning |\n"
        f"| --- | --- |\n{rows}"
    )


def _words() -> str:
    verdicts = "\n".join(f"| `{one}` | {'passes' if one.passes else 'fails'} |" for one in Verdict)
    causes = ", ".join(f"`{one}`" for one in Cause)
    return (
        "## Verdicts\n\n| verdict | the test |\n| --- | --- |\n"
        f"{verdicts}\n\nCauses of a drift: {causes}."
    )


def _commands() -> str:
    head = (
        "## The command `pytest-repro`\n\n`pytest-repro COMMAND --help` shows arguments, three "
        "examples and exit codes.\n\n| command | what it does |\n| --- | --- |"
    )
    rows = (
        f"| `pytest-repro {name}` | {_cell(one.get_short_help_str(200))} |"
        for name, one in _named_commands(app)
    )
    return "\n".join([head, *rows])


def _named_commands(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    for name, one in group.commands.items():
        if isinstance(one, click.Group):
            yield from ((f"{name} {below}", each) for below, each in _named_commands(one))
        else:
            yield name, one


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    print(f"wrote {PAGE}")
