"""The commands about this machine: env, kernels, doctor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from pytest_repro.analysis.agreement import KernelTable, kernel_table, kernels_of
from pytest_repro.analysis.doctor import MEANINGS, Diagnosis, can_connect, diagnose
from pytest_repro.cli.options import (
    DONE,
    UNREADABLE,
    Example,
    Place,
    command,
    json_option,
    root_option,
    setting_option,
    with_place,
)
from pytest_repro.cli.output import Output, environment_table, suffix_lines
from pytest_repro.environment.kernels import Kernels, Probe, kernels_from_rows, probe_of
from pytest_repro.environment.observe import observe_environment
from pytest_repro.errors import EnvironmentFault, ExitCode, UsageError
from pytest_repro.frameworks.framework import default_framework
from pytest_repro.frameworks.mint import compose_mint
from pytest_repro.model.baseline import Environment
from pytest_repro.model.words import Framework, Switch
from pytest_repro.report.matrix import letters
from pytest_repro.report.tables import Column, Table, count_text, json_text
from pytest_repro.settings import names_in, parse_choice
from pytest_repro.store.select import one_key, select_keys

_FRESH_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class _Machine:
    """This machine: its environment, its probe, and why it is not deterministic, if so."""

    environment: Environment
    probe: Probe
    not_deterministic: str


def _machine(place: Place, framework: str) -> _Machine:
    chosen = parse_choice(Framework, place.setting("framework", framework), origin="framework")
    adapter, why = default_framework(), ""
    mint = parse_choice(Switch, place.setting("mint-cpu"), origin="repro_mint_cpu")
    if mint is Switch.ON and chosen.may_be_mindspore:
        compose_mint()
    if chosen.may_be_mindspore and adapter.installed():
        try:
            # As a test run does it: the switch is one of the facts.
            adapter.enable_determinism()
        except EnvironmentFault as fault:
            why = fault.what
    environment = observe_environment(
        framework=str(chosen),
        root=place.root,
        extra=project_facts(place.root),
        mindspore=adapter,
        key_facts=names_in(place.setting("key-facts")),
    )
    name = environment.key.framework.partition("-")[0]
    return _Machine(environment, probe_of(name, adapter), why)


def project_facts(root: Path) -> dict[str, str]:
    """What the hook ``pytest_repro_environment`` gives in this project; runs its conftest files.

    Raises:
        EnvironmentFault: pytest does not start there.
    """
    from pytest_repro.plugin import facts  # it imports pytest, which other commands do without

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "facts.json"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", facts.__name__, "-p", "no:cacheprovider"],
            cwd=root,
            env={**os.environ, facts.FILE: str(path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=_FRESH_TIMEOUT_S,
        )
        if not path.is_file():
            raise EnvironmentFault(
                "the project's facts cannot be read: pytest does not start here",
                facts=tuple((done.stderr or done.stdout).strip().splitlines()[-4:]),
                next_step="pytest --collect-only",
            )
        return dict(json.loads(path.read_text(encoding="utf-8")))


@command(
    "env",
    examples=(
        Example("pytest-repro env", "The key and the facts, as a table."),
        Example("pytest-repro env --json", "The same for a program."),
        Example("ONEDNN_MAX_CPU_ISA=AVX pytest-repro env", "The key with fewer SIMD levels."),
    ),
    exit_codes=DONE[:1],
)
@setting_option("framework")
@root_option
@json_option
def env(out: Output, framework: str, root: str, as_json: bool) -> ExitCode:
    """Print this machine's key and every fact.

    The key is the one under which this machine records and looks for baselines; the facts are
    stored with them. Facts that are known to change results are marked.
    """
    environment = _machine(Place(root), framework).environment
    if as_json:
        out.line(json_text("env", key=environment.key, facts=environment.facts))
        return ExitCode.OK
    out.line(f"key  {environment.key}")
    for line in suffix_lines(environment):
        out.line(f"     {line}")
    out.line()
    out.table(environment_table(environment))
    out.line("\n* a difference is known or documented to change results")
    return ExitCode.OK


@command(
    "kernels",
    examples=(
        Example("pytest-repro kernels", "The kernels of all keys that recorded them."),
        Example(
            "pytest-repro kernels avx2-2c-l2_1024k/mindspore-2.9 avx2-2c-l2_1024k/mindspore-2.10",
            "Which kernels changed bits between two MindSpore versions.",
        ),
        Example(
            "pytest-repro kernels --here mindspore-2.10.0", "This machine against a recorded key."
        ),
    ),
)
@click.argument("keys", metavar="[KEY_A KEY_B]", nargs=-1)
@click.option(
    "--here", is_flag=True, help="Measure the kernels of this machine; with keys, compare them."
)
@setting_option("framework")
@json_option
@with_place
def kernels(
    out: Output, place: Place, keys: Sequence[str], here: bool, framework: str, as_json: bool
) -> ExitCode:
    """Show which kernels compute equal bits under which keys.

    Each baseline is recorded with the bits of the operators that diffusion models use, computed on
    fixed inputs. Rows are operators, columns are keys; equal letters in a row are equal bits. With
    keys only the operators that differ are listed.
    """
    found, missing = _recorded(place, keys) if keys or not here else ({}, ())
    if here:
        machine = _machine(place, framework)
        found[f"here: {machine.environment.key}"] = machine.probe.measure()
    table = kernel_table(found)
    if as_json:
        rows = {key: sorted(one.items()) for key, one in found.items()}
        out.line(json_text("kernels", kernels=rows, table=table))
        return ExitCode.OK
    for line in _kernel_lines(table, missing):
        out.line(line)
    out.table(_shown_kernels(table, only_differing=bool(keys)))
    differ = sum(row.differs for row in table.rows)
    out.line(f"{count_text(len(table.rows), 'kernel')}, {differ:,} differ")
    return ExitCode.OK


def _recorded(place: Place, keys: Sequence[str]) -> tuple[dict[str, Kernels], Sequence[str]]:
    if len(keys) > 2:
        raise UsageError(f"{len(keys)} keys are given; kernels takes none, one or two")
    store = place.store()
    chosen = [one_key(store, text) for text in keys] if keys else select_keys(store)
    return kernels_of(store, chosen)


def _kernel_lines(table: KernelTable, missing: Sequence[str]) -> list[str]:
    lines = [f"{number:>3}  {key}" for number, key in enumerate(table.keys, 1)]
    if missing:
        lines += [f"{count_text(len(missing), 'key')} without kernels: recorded before the probe"]
    return [*lines, "equal letters in a row: equal bits; '.': not computed there", ""]


def _shown_kernels(table: KernelTable, *, only_differing: bool) -> Table:
    heads = (Column(str(number), right=True) for number in range(1, len(table.keys) + 1))
    rows = []
    for row in table.rows:
        if row.differs or not only_differing:
            numbers = {key: number for number, group in enumerate(row.groups) for key in group}
            rows.append((row.name, *(letters(numbers.get(key)) for key in table.keys)))
    return Table((Column("kernel"), *heads), tuple(rows))


@command(
    "doctor",
    examples=(
        Example("pytest-repro doctor", "Examine this machine."),
        Example("pytest-repro doctor --json", "The same for a program or a bug report."),
        Example("pytest-repro doctor --framework numpy", "Without MindSpore."),
    ),
    exit_codes=(
        (ExitCode.OK, "nothing is wrong"),
        UNREADABLE,
        *((code, meaning) for code, meaning in MEANINGS.items()),
    ),
)
@setting_option("framework")
@json_option
@with_place
def doctor(out: Output, place: Place, framework: str, as_json: bool) -> ExitCode | int:
    """Examine this machine: facts, kernels, noise, store, Hub.

    Shows every fact and where it is read, whether deterministic computation is in effect, whether
    each kernel repeats itself (twice in this process, once in a fresh one), whether numpy draws the
    recorded bits, the nearest stored environment and the kernels that differ from it, whether the
    store can be written, and whether the Hub answers. If several things are wrong, the exit code is
    that of the first in the list below.
    """
    machine = _machine(place, framework)
    out.error("running each kernel three times ...")
    name = machine.environment.key.framework.partition("-")[0]
    runs = (machine.probe.measure(), machine.probe.measure(), fresh_kernels(place, name))
    found = diagnose(
        machine.environment,
        place.target(),
        runs,
        switched_on=machine.not_deterministic,
        variables=dict(os.environ),
        can_connect=can_connect,
    )
    if as_json:
        out.line(json_text("doctor", diagnosis=found))
    else:
        _show_diagnosis(out, found)
    return int(found.findings[0].complaint) if found.findings else ExitCode.OK


def fresh_kernels(place: Place, framework: str) -> Kernels:
    """The kernels as a fresh process computes them."""
    command_line = [sys.executable, "-m", "pytest_repro.cli", "kernels", "--here", "--json"]
    command_line += ["--framework", framework, "--root", str(place.root)]
    done = subprocess.run(
        command_line, capture_output=True, text=True, check=False, timeout=_FRESH_TIMEOUT_S
    )
    if done.returncode:
        raise EnvironmentFault(
            "the kernels cannot be run in a fresh process",
            facts=tuple(done.stderr.strip().splitlines()[-4:]),
        )
    (rows,) = json.loads(done.stdout)["kernels"].values()
    return kernels_from_rows(rows)


def _show_diagnosis(out: Output, found: Diagnosis) -> None:
    out.line(f"key  {found.key}\n")
    rows = tuple(
        ("*" if one.changes_bits else "", one.name, one.value or "-", one.source)
        for one in found.facts
    )
    out.table(Table(tuple(map(Column, ("", "fact", "value", "read from"))), rows))
    out.line("\n* a difference is known or documented to change results")
    out.line(f"\ndeterminism  {found.determinism}")
    if found.nearest is not None:
        out.line(f"nearest      {found.nearest.key} ({found.nearest.distance})")
        kernels = found.nearest.kernels
        if kernels is not None:
            out.line(f"             {_differing_text(kernels, found.kernel_count)}")
    for note in found.notes:
        out.line(f"right        {note}")
    for one in found.findings:
        out.line(f"wrong        {one.sentence}")
    for one in found.findings:
        out.line(f"next         {one.next_step}")
    if not found.findings:
        out.line("next         pytest")


def _differing_text(kernels: Sequence[str], count: int) -> str:
    if not kernels:
        return f"all {count} kernels compute the recorded bits"
    return f"{len(kernels):,} of {count} kernels compute different bits: {', '.join(kernels)}"
