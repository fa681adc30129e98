"""The commands that look: env, list, show, diff, matrix, history, sensitivity."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from pytest_repro.analysis import sides
from pytest_repro.analysis.agreement import LeafDistance, farthest
from pytest_repro.cli.options import (
    UNREADABLE,
    Example,
    Place,
    check_argument,
    check_option,
    command,
    json_option,
    judged_checks,
    judged_table,
    key_option,
    side_of,
    with_place,
)
from pytest_repro.cli.output import Output, baseline_lines
from pytest_repro.errors import ExitCode, StoreError, UsageError
from pytest_repro.model.baseline import Baseline
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.model.words import Verdict
from pytest_repro.report.matrix import matrix_html, matrix_json, matrix_lines, matrix_tables
from pytest_repro.report.sensitivity import sensitivity_summary, sensitivity_table
from pytest_repro.report.tables import Column, Table, count_text, json_text, number_text
from pytest_repro.store.select import one_check, select_keys
from pytest_repro.store.store import Store

_SHOWN_DIGITS = 12


@command(
    "list",
    examples=(
        Example("pytest-repro list", "All checks."),
        Example("pytest-repro list ddim", "The checks with ddim in their id."),
        Example("pytest-repro list --report report --verdict drift", "What drifted in a run."),
    ),
)
@click.argument("glob", metavar="[GLOB]", default="*")
@click.option(
    "--report",
    default="",
    metavar="DIR",
    type=click.Path(),
    help="Checks of the run that wrote this report, instead of the stored ones.",
)
@click.option(
    "--verdict",
    metavar="VERDICT",
    multiple=True,
    type=click.Choice([str(one) for one in Verdict]),
    help="With --report: only checks with this verdict; may be given several times.",
)
@key_option
@json_option
@with_place
def list_(
    out: Output,
    place: Place,
    glob: str,
    report: str,
    verdict: Sequence[str],
    key: str,
    as_json: bool,
) -> ExitCode:
    """List the checks that have baselines.

    Shows how many keys hold each check; with --report it lists the checks of a run, with their
    verdicts. GLOB selects checks: '*' matches anything, and a text without '*' selects every
    check that contains it.
    """
    if report:
        _list_report(out, report, glob, key, verdict, as_json=as_json)
        return ExitCode.OK
    if verdict:
        raise UsageError(
            "--verdict selects from the checks of a run, and --report names none",
            next_step="pytest-repro list --report DIR --verdict drift",
        )
    store = place.store()
    keys = select_keys(store, key)
    listings = sides.list_checks(store, keys, glob or "*")
    if as_json:
        out.line(json_text("list", keys=keys, checks=listings))
        return ExitCode.OK
    rows = tuple((str(one.check), f"{len(one.keys)} of {len(keys)}") for one in listings)
    out.table(Table((Column("check"), Column("keys", right=True)), rows))
    counts = f"{count_text(len(listings), 'check')} under {count_text(len(keys), 'key')}"
    out.line(counts + ("" if not keys else ":"))
    held = Counter(one_key for one in listings for one_key in one.keys)
    for one_key in keys:
        out.line(f"  {one_key}  {count_text(held[one_key], 'check')}")
    return ExitCode.OK


def _list_report(
    out: Output, report: str, glob: str, key: str, verdicts: Sequence[str], *, as_json: bool
) -> None:
    chosen = judged_checks(Path(report), glob or "*", key, verdicts)
    if as_json:
        out.line(json_text("list", report=report, checks=chosen))
        return
    out.table(judged_table(chosen))
    out.line(f"{count_text(len(chosen), 'check')} of the run in {report}")


@command(
    "show",
    examples=(
        Example("pytest-repro show tests/test_ddim.py::test_ddim::image", "Under every key."),
        Example("pytest-repro show ddim::image --key avx2", "Under the keys with avx2."),
        Example("pytest-repro show ddim::image --image out.png", "The stored image, to look at."),
    ),
)
@check_argument
@key_option
@click.option(
    "--image",
    metavar="FILE",
    default="",
    help="Write the stored image into this file, as PNG; of a batch all, one below the other.",
)
@json_option
@with_place
def show(out: Output, place: Place, check: str, key: str, image: str, as_json: bool) -> ExitCode:
    """Show everything that is stored of one check.

    Digests, statistics, noise, envelope, when, where and with which facts it was recorded. CHECK
    is an id, or a part of it that only one check has.
    """
    store = place.store()
    keys = select_keys(store, key)
    chosen = one_check(store, check, keys)
    found = sides.stored_baselines(store, chosen, keys)
    if image:
        _write_image(out, store, found, Path(image))
        return ExitCode.OK
    if as_json:
        rows = [{"key": one, "baseline": baseline} for one, baseline in found]
        out.line(json_text("show", check=chosen, baselines=rows))
        return ExitCode.OK
    out.line(str(chosen))
    for one, baseline in found:
        manifest = store.shown(store.manifest_path(one, chosen.module))
        for line in baseline_lines(one, baseline, manifest):
            out.line(line)
    return ExitCode.OK


def _write_image(
    out: Output, store: Store, found: Sequence[tuple[EnvironmentKey, Baseline]], path: Path
) -> None:
    """Write the first tensor that is an image, and say under which key it is stored."""
    try:
        from pytest_repro.report.pictures import png_of
    except ImportError as error:
        next_step = "pip install 'pytest-repro[report]'"
        raise UsageError(f"--image needs {error.name}", next_step=next_step) from error

    kinds = {one.index.value for _, one in found}
    if len(kinds) > 1:
        names = tuple(str(key) for key, _ in found)
        raise UsageError(
            f"--image: {len(kinds)} different values are stored", facts=names,
            next_step="choose one with --key",
        )  # fmt: skip
    key, baseline = found[0]
    records = [store.tensor(one.digest) for one in baseline.tensors]
    if any(one is None for one in records):
        raise StoreError(
            "--image: the tensor of this check is absent",
            where=store.shown(store.manifest_path(key, baseline.check.module)),
            next_step="pytest-repro pull, or git lfs pull",
        )
    png = next(filter(None, (png_of(one.array) for one in records if one)), b"")
    if not png:
        raise UsageError("--image: no tensor of this check has the shape of an image")
    try:
        path.write_bytes(png)
    except OSError as error:
        raise UsageError(f"--image: {path}: {error.strerror or error}") from error
    out.line(f"{path}: {baseline.check} of {key}")


@command(
    "diff",
    examples=(
        Example(
            "pytest-repro diff avx2-2c-l2_1024k/mindspore-2.9.0 avx2-2c-l2_1024k/mindspore-2.10.0",
            "Two MindSpore versions on one hardware.",
        ),
        Example(
            "pytest-repro diff avx-2c-l2_1024k/mindspore-2.10.0 avx2-2c-l2_1024k/mindspore-2.10.0",
            "Two SIMD levels.",
        ),
        Example(
            "pytest-repro diff report-of-a report-of-b --check unclip",
            "Two runs, the UnCLIP checks only.",
        ),
    ),
    exit_codes=(
        (ExitCode.OK, "every check is exact"),
        (ExitCode.DIFFERENT, "a check differs or is on one side only"),
        UNREADABLE,
    ),
)
@click.argument("first", metavar="A", type=click.Path())
@click.argument("second", metavar="B", type=click.Path())
@check_option
@json_option
@with_place
def diff(out: Output, place: Place, first: str, second: str, check: str, as_json: bool) -> ExitCode:
    """Compare the baselines of two keys, or two runs.

    A counts as the baseline, B is measured against it, check by check. Each is a key
    (HARDWARE/FRAMEWORK, or a part that only one key has) or the report folder of a run. Where a
    tensor is absent the distance is estimated from the sketch and marked with '~'.
    """
    one, other = side_of(place, first, check), side_of(place, second, check)
    found = sides.compare_sides(one, other, track=out.track)
    differing = [each for each in found if each.relation is not sides.Relation.EXACT]
    if as_json:
        out.line(json_text("diff", first=one.name, second=other.name, checks=found))
    else:
        out.line(f"first   {one.name}\nsecond  {other.name}\n")
        out.table(_diff_table(differing))
        exact = len(found) - len(differing)
        out.line(f"{count_text(exact, 'check')} exact, {len(differing):,} not")
    return ExitCode.DIFFERENT if differing else ExitCode.OK


def _diff_table(comparisons: Sequence[sides.Comparison]) -> Table:
    titles = ("rel_l2", "max abs", "max ulp", "elements differ")
    columns = (
        Column("check"),
        Column("relation"),
        *(Column(title, right=True) for title in titles),
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


@command(
    "matrix",
    examples=(
        Example("pytest-repro matrix", "All checks under all keys; reads index lines only."),
        Example("pytest-repro matrix --check ddim --far", "With distances, for some checks."),
        Example("pytest-repro matrix --far --html matrix.html", "As a heat map to look at."),
    ),
)
@check_option
@key_option
@click.option(
    "--far",
    is_flag=True,
    help="Also measure how far keys are apart, and judge it by envelope and policy; reads every "
    "tensor of a check that differs.",
)
@click.option(
    "--html",
    default="",
    metavar="FILE",
    type=click.Path(),
    help="Write a heat map as one HTML page.",
)
@click.option(
    "--json",
    default="",
    metavar="FILE",
    type=click.Path(),
    help="Write JSON; '-' writes it instead of text.",
)
@with_place
def matrix(
    out: Output, place: Place, check: str, key: str, far: bool, html: str, json: str
) -> ExitCode:
    """Show which environments agree on which checks.

    Shows for every check which keys hold equal bits, and over all checks how often two framework
    versions and two kinds of hardware agree; with --far also how far they are apart, and whether
    that is within the tolerance.
    """
    store = place.store()
    keys = select_keys(store, key)
    policy = place.policy() if far else None
    found = sides.matrix_of(store, keys, check, far=policy, track=out.track)
    _write_file(out, "html", html, lambda: matrix_html(found))
    _write_file(out, "json", json, lambda: matrix_json(found))
    if json == "-":
        out.line(matrix_json(found))
        return ExitCode.OK
    for line in matrix_lines(found):
        out.line(line)
    for table in matrix_tables(found):
        if table.rows:
            out.line()
            out.table(table)
    return ExitCode.OK


def _write_file(out: Output, name: str, target: str, text: Callable[[], str]) -> None:
    if not target or target == "-":
        return
    try:
        Path(target).write_text(text(), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"--{name}: cannot write {target}: {error.strerror}") from error
    out.error(f"wrote {target}")


@command(
    "history",
    examples=(
        Example("pytest-repro history ddim::image", "Over all versions and hardware."),
        Example("pytest-repro history ddim::image --key avx2-2c", "On one hardware."),
        Example("pytest-repro history ddim::image --json", "The same for a program."),
    ),
)
@check_argument
@key_option
@json_option
@with_place
def history(out: Output, place: Place, check: str, key: str, as_json: bool) -> ExitCode:
    """Follow one check over framework versions.

    From the oldest version, hardware by hardware: where the bits changed, and by how much. CHECK
    is an id, or a part of it that only one check has.
    """
    store = place.store()
    keys = select_keys(store, key)
    chosen = one_check(store, check, keys)
    rows = sides.history_of(store, chosen, keys)
    if as_json:
        out.line(json_text("history", check=chosen, rows=[_history_json(row) for row in rows]))
        return ExitCode.OK
    out.line(f"{chosen}\n")
    columns = ("hardware", "framework", "recorded", "bits", "than before", "rel_l2", "max ulp")
    out.table(Table(tuple(map(Column, columns)), tuple(map(_history_cells, rows))))
    return ExitCode.OK


def _history_cells(row: sides.HistoryRow) -> tuple[str, ...]:
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


def _history_json(row: sides.HistoryRow) -> dict[str, object]:
    return {
        "key": row.key,
        "recorded_at": row.baseline.provenance.recorded_at,
        "index": row.baseline.index,
        "since": row.since,
        "rel_l2": None if row.distance is None else row.distance.rel_l2,
        "is_estimate": row.distance is not None and row.distance.is_estimate,
    }


@command(
    "sensitivity",
    examples=(
        Example("pytest-repro sensitivity", "All checks, the fewest digits first."),
        Example("pytest-repro sensitivity --check unclip", "The UnCLIP checks."),
        Example(
            "pytest-repro sensitivity --key mindspore-2.10.0 --json",
            "One framework version, as JSON.",
        ),
    ),
)
@check_option
@key_option
@click.option("--each-key", is_flag=True, help="A row for each key, not a range.")
@json_option
@with_place
def sensitivity(
    out: Output, place: Place, check: str, key: str, each_key: bool, as_json: bool
) -> ExitCode:
    """Show how much every check amplifies its noise.

    For every check with an envelope: how far its result moves when the noise moves by one unit in
    the last place, as amplification (relative movement of the result over that of the noise, means
    over the runs), and how many significant digits survive in every run.
    """
    store = place.store()
    rows = sides.sensitivities(store, select_keys(store, key), check, track=out.track)
    if as_json:
        out.line(json_text("sensitivity", rows=rows))
        return ExitCode.OK
    out.table(sensitivity_table(rows) if each_key or key != "*" else sensitivity_summary(rows))
    if not rows:
        out.line("no selected check has an envelope: pytest --repro-update=all")
        return ExitCode.OK
    lost = sum(math.isfinite(row.digits) and row.digits < 1.0 for row in rows)
    out.line(f"\n{count_text(len(rows), 'tensor')}; {lost:,} keep less than one digit")
    return ExitCode.OK
