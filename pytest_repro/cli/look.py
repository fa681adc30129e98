"""The subcommands that look: env, list, show, diff, matrix, history, sensitivity."""

from __future__ import annotations

import math
from pathlib import Path

from pytest_repro.analysis import sides as upkeep
from pytest_repro.analysis.agreement import LeafDistance, farthest
from pytest_repro.cli.context import Context
from pytest_repro.cli.reports import list_report, side_of
from pytest_repro.cli.showing import baseline_lines, environment_table, suffix_lines
from pytest_repro.errors import ExitCode, StoreError, UsageError
from pytest_repro.model.words import Framework
from pytest_repro.report.matrix import matrix_html, matrix_json, matrix_lines, matrix_tables
from pytest_repro.report.sensitivity import sensitivity_summary, sensitivity_table
from pytest_repro.report.tables import Column, Table, count_text, json_text, number_text
from pytest_repro.settings import parse_choice
from pytest_repro.store.select import one_check, select_keys

_SHOWN_DIGITS = 12


def env(context: Context) -> ExitCode:
    """This machine's key and every fact."""
    from pytest_repro.environment.observe import observe_environment
    from pytest_repro.frameworks.framework import default_framework

    framework = parse_choice(Framework, context.setting("framework"), origin="framework")
    mindspore = default_framework()
    if str(framework) != "numpy" and mindspore.installed():
        # As a test run does it: the switch is one of the facts.
        mindspore.enable_determinism()
    environment = observe_environment(
        framework=str(framework), root=context.root, extra={}, mindspore=mindspore
    )
    if context.has("json"):
        context.output.line(json_text("env", key=environment.key, facts=environment.facts))
        return ExitCode.OK
    context.output.line(f"key  {environment.key}")
    for line in suffix_lines(environment):
        context.output.line(f"     {line}")
    context.output.line("")
    context.output.table(environment_table(environment))
    context.output.line("\n* a difference is known or documented to change results")
    return ExitCode.OK


def list_(context: Context) -> ExitCode:
    """The stored checks and the keys that hold them, or the checks of a run."""
    if context.text("report"):
        list_report(context)
        return ExitCode.OK
    if context.words("verdict"):
        raise UsageError(
            "--verdict: a verdict is of a run, and no report of one is named",
            next_step="pytest-repro list --report DIR --verdict drift",
        )
    store = context.store()
    keys = select_keys(store, context.text("key"))
    listings = upkeep.list_checks(store, keys, context.text("glob") or "*")
    if context.has("json"):
        context.output.line(json_text("list", keys=keys, checks=listings))
        return ExitCode.OK
    rows = tuple((str(one.check), f"{len(one.keys)} of {len(keys)}") for one in listings)
    context.output.table(Table((Column("check"), Column("keys", right=True)), rows))
    counts = f"{count_text(len(listings), 'check')} under {count_text(len(keys), 'key')}"
    context.output.line(counts + ("" if not keys else ":"))
    for key in keys:
        held = sum(key in one.keys for one in listings)
        context.output.line(f"  {key}  {count_text(held, 'check')}")
    return ExitCode.OK


def show(context: Context) -> ExitCode:
    """Everything that is stored of one check."""
    store = context.store()
    keys = select_keys(store, context.text("key"))
    check = one_check(store, context.text("check"), keys)
    found = upkeep.stored_baselines(store, check, keys)
    if context.has("json"):
        rows = [{"key": key, "baseline": baseline} for key, baseline in found]
        context.output.line(json_text("show", check=check, baselines=rows))
        return ExitCode.OK
    context.output.line(str(check))
    for key, baseline in found:
        manifest = store.shown(store.manifest_path(key, check.module))
        for line in baseline_lines(key, baseline, manifest):
            context.output.line(line)
    return ExitCode.OK


def diff(context: Context) -> ExitCode:
    """Two keys or two runs side by side."""
    pattern = context.text("check")
    first = side_of(context, context.text("first"), pattern)
    second = side_of(context, context.text("second"), pattern)
    found = upkeep.compare_sides(first, second, track=context.output.track)
    differing = [one for one in found if one.relation is not upkeep.Relation.EXACT]
    if context.has("json"):
        document = json_text("diff", first=first.name, second=second.name, checks=found)
        context.output.line(document)
    else:
        context.output.line(f"first   {first.name}\nsecond  {second.name}\n")
        context.output.table(_diff_table(differing))
        exact = len(found) - len(differing)
        context.output.line(f"{count_text(exact, 'check')} exact, {len(differing):,} not")
    return ExitCode.DIFFERENT if differing else ExitCode.OK


def _diff_table(comparisons: list[upkeep.Comparison]) -> Table:
    titles = ("rel_l2", "max abs", "max ulp")
    columns = (
        Column("check"),
        Column("relation"),
        *(Column(title, right=True) for title in titles),
        Column("elements differ", right=True),
    )
    rows = tuple(
        (str(one.check), str(one.relation), *_distance_cells(farthest(one.distances)))
        for one in comparisons
    )
    return Table(columns, rows)


def _distance_cells(leaf: LeafDistance | None) -> tuple[str, str, str, str]:
    if leaf is None:
        return "-", "-", "-", "-"
    difference = leaf.difference
    if difference is None:
        return leaf.incomparable, "-", "-", "-"
    if leaf.is_estimate:
        return f"~{number_text(leaf.rel_l2)}", "-", "-", "tensor absent"
    worst_abs, worst_ulp = difference.worst_abs, difference.worst_ulp
    return (
        number_text(leaf.rel_l2),
        number_text(None if worst_abs is None else worst_abs.amount),
        number_text(None if worst_ulp is None else worst_ulp.amount),
        f"{difference.differing_count:,} of {difference.element_count:,}",
    )


def matrix(context: Context) -> ExitCode:
    """Which keys agree on which checks."""
    store = context.store()
    keys = select_keys(store, context.text("key"))
    far = context.policy() if context.has("far") else None
    found = upkeep.matrix_of(
        store, keys, context.text("check"), far=far, track=context.output.track
    )
    _write_file(context, "html", lambda: matrix_html(found))
    _write_file(context, "json", lambda: matrix_json(found))
    if context.text("json") == "-":
        context.output.line(matrix_json(found))
        return ExitCode.OK
    for line in matrix_lines(found):
        context.output.line(line)
    for table in matrix_tables(found):
        if table.rows:
            context.output.line()
            context.output.table(table)
    return ExitCode.OK


def _write_file(context: Context, name: str, text: object) -> None:
    target = context.text(name)
    if not target or target == "-":
        return
    assert callable(text)
    try:
        Path(target).write_text(text(), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"--{name}: cannot write {target}: {error.strerror}") from error
    context.output.error(f"wrote {target}")


def history(context: Context) -> ExitCode:
    """One check over framework versions, hardware by hardware."""
    store = context.store()
    keys = select_keys(store, context.text("key"))
    check = one_check(store, context.text("check"), keys)
    rows = upkeep.history_of(store, check, keys)
    if context.has("json"):
        context.output.line(
            json_text("history", check=check, rows=[_history_json(r) for r in rows])
        )
        return ExitCode.OK
    context.output.line(f"{check}\n")
    columns = ("hardware", "framework", "recorded", "bits", "than before", "rel_l2", "max ulp")
    table = Table(tuple(Column(title) for title in columns), tuple(map(_history_cells, rows)))
    context.output.table(table)
    return ExitCode.OK


def _history_cells(row: upkeep.HistoryRow) -> tuple[str, ...]:
    rel_l2, _, ulp, _ = _distance_cells(row.distance)
    return (
        row.key.hardware,
        row.key.framework,
        row.baseline.provenance.recorded_at,
        row.baseline.index.value[:_SHOWN_DIGITS],
        row.since or "(first)",
        rel_l2,
        ulp,
    )


def _history_json(row: upkeep.HistoryRow) -> dict[str, object]:
    return {
        "key": row.key,
        "recorded_at": row.baseline.provenance.recorded_at,
        "index": row.baseline.index,
        "since": row.since,
        "rel_l2": None if row.distance is None else row.distance.rel_l2,
        "is_estimate": row.distance is not None and row.distance.is_estimate,
    }


def sensitivity(context: Context) -> ExitCode:
    """How much every check amplifies its noise."""
    store = context.store()
    keys = select_keys(store, context.text("key"))
    rows = upkeep.sensitivities(store, keys, context.text("check"), track=context.output.track)
    if context.has("json"):
        context.output.line(json_text("sensitivity", rows=rows))
        return ExitCode.OK
    by_key = context.has("each_key") or context.text("key") != "*"
    context.output.table(sensitivity_table(rows) if by_key else sensitivity_summary(rows))
    if not rows:
        context.output.line("no selected check has an envelope: pytest --repro-update=all")
        return ExitCode.OK
    lost = sum(math.isfinite(row.digits) and row.digits < 1.0 for row in rows)
    context.output.line(f"\n{count_text(len(rows), 'tensor')}; {lost:,} keep less than one digit")
    return ExitCode.OK
