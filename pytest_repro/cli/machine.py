"""The commands that measure this machine: kernels and doctor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_repro.analysis.doctor import Diagnosis, can_connect, diagnose
from pytest_repro.analysis.kernels import KernelTable, kernel_table, kernels_of
from pytest_repro.cli.context import Context
from pytest_repro.cli.output import Output
from pytest_repro.environment.kernels import Kernels, Probe, kernels_from_rows, probe_of
from pytest_repro.environment.observe import observe_environment
from pytest_repro.errors import EnvironmentFault, ExitCode, UsageError
from pytest_repro.frameworks.framework import default_framework
from pytest_repro.model.baseline import Environment
from pytest_repro.model.words import Framework
from pytest_repro.report.matrix import letters
from pytest_repro.report.tables import Column, Table, count_text, json_text
from pytest_repro.settings import parse_choice
from pytest_repro.store.select import one_key, select_keys

_FRESH_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class _Machine:
    """This machine: its environment, its probe, and why it is not deterministic, if so."""

    environment: Environment
    probe: Probe
    not_deterministic: str


def _machine(root: Path, framework: str) -> _Machine:
    chosen = parse_choice(Framework, framework, origin="framework")
    adapter, why = default_framework(), ""
    if chosen is not Framework.NUMPY and adapter.installed():
        try:
            # As a test run does it: the switch is one of the facts.
            adapter.enable_determinism()
        except EnvironmentFault as fault:
            why = fault.what
    environment = observe_environment(framework=str(chosen), root=root, extra={}, mindspore=adapter)
    name = environment.key.framework.partition("-")[0]
    return _Machine(environment, probe_of(name, adapter), why)


def kernels(context: Context) -> ExitCode:
    """Which kernels compute equal bits under which keys."""
    out, keys, here = context.output, context.words("keys"), context.has("here")
    found, missing = _recorded(context, keys) if keys or not here else ({}, ())
    if here:
        machine = _machine(context.root, context.setting("framework"))
        found[f"here: {machine.environment.key}"] = machine.probe.measure()
    table = kernel_table(found)
    if context.has("json"):
        rows = {key: sorted(one.items()) for key, one in found.items()}
        out.line(json_text("kernels", kernels=rows, table=table))
        return ExitCode.OK
    for line in _kernel_lines(table, missing):
        out.line(line)
    out.table(_shown_kernels(table, only_differing=bool(keys)))
    differ = sum(row.differs for row in table.rows)
    out.line(f"{count_text(len(table.rows), 'kernel')}, {differ:,} differ")
    return ExitCode.OK


def _recorded(context: Context, keys: Sequence[str]) -> tuple[dict[str, Kernels], Sequence[str]]:
    if len(keys) > 2:
        raise UsageError(f"{len(keys)} keys are given; kernels takes none, one or two")
    store = context.store()
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


def doctor(context: Context) -> ExitCode | int:
    """Facts, kernels, noise, store and Hub of this machine."""
    out, root = context.output, context.root
    machine = _machine(root, context.setting("framework"))
    out.error("running each kernel three times ...")
    name = machine.environment.key.framework.partition("-")[0]
    runs = (machine.probe.measure(), machine.probe.measure(), fresh_kernels(root, name))
    found = diagnose(
        machine.environment,
        context.target(),
        runs,
        switched_on=machine.not_deterministic,
        variables=dict(os.environ),
        can_connect=can_connect,
    )
    if context.has("json"):
        out.line(json_text("doctor", diagnosis=found))
    else:
        _show_diagnosis(out, found)
    return int(found.findings[0].complaint) if found.findings else ExitCode.OK


def fresh_kernels(root: Path, framework: str) -> Kernels:
    """The kernels as a fresh process computes them."""
    command_line = [sys.executable, "-m", "pytest_repro.cli", "kernels", "--here", "--json"]
    command_line += ["--framework", framework, "--root", str(root)]
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
    return f"{len(kernels):,} of {count} kernels compute other bits: {', '.join(kernels)}"
