"""The commands that maintain what is stored."""

from __future__ import annotations

import math
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from pytest_repro.checking.accept import (
    OBSERVED,
    accept,
    candidates_of,
    join_observed,
    open_observed,
)
from pytest_repro.cli.options import (
    DONE_OR_SHOWN,
    UNREADABLE,
    Example,
    Place,
    check_argument,
    command,
    json_option,
    key_option,
    read_folder,
    with_place,
    yes_option,
)
from pytest_repro.cli.output import Output, explanation_lines
from pytest_repro.environment.key import is_of_kind
from pytest_repro.environment.observe import own_kind
from pytest_repro.errors import ExitCode, UsageError
from pytest_repro.frameworks.framework import default_framework
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.model.outcome import Candidate, Claim
from pytest_repro.pipelines.family import cache_folder
from pytest_repro.report.changes import Questions, candidate_lines
from pytest_repro.report.document import ReadReport
from pytest_repro.report.folder import counted, join_contents, prepare_folder, write_folder
from pytest_repro.report.tables import Column, Table, count_text, json_text
from pytest_repro.store.inventory import delete_files
from pytest_repro.store.migrate import find_older, migrate, plan_migration, repack
from pytest_repro.store.prune import (
    collect_tests,
    find_garbage,
    find_prunable,
    find_renamings,
    prune,
    rename,
)
from pytest_repro.store.select import (
    Entry,
    entries,
    named_entries,
    one_check,
    select_keys,
    selects,
)
from pytest_repro.store.store import Store
from pytest_repro.store.verify import Finding, Memory, load_memory, verify
from pytest_repro.tolerance.policy import Policy, explain, matches, unmatched

_LISTED = 20


@command(
    "explain",
    examples=(
        Example("pytest-repro policy explain ddim::image", "A stored check, by a part of it."),
        Example(
            "pytest-repro policy explain tests/test_new.py::test_new::image",
            "A check that has no baseline, by its whole id.",
        ),
        Example("pytest-repro policy explain ddim::image --json", "The same for a program."),
    ),
)
@check_argument
@json_option
@with_place
def policy_explain(out: Output, place: Place, check: str, as_json: bool) -> ExitCode:
    """Show which rule decides about a check, and why.

    Names the rule of policy.yaml that decides the tolerance, reference, factor and ceiling of a
    check, and the rules it overrides.
    """
    policy = place.policy()
    explanation = explain(policy, _check_id(place.store(), check))
    if not as_json:
        for line in explanation_lines(explanation):
            out.line(line)
        return ExitCode.OK
    decisions = [
        {"field": one.field, "text": one.text, "line": one.line, "check": one.rule.glob}
        | {"reason": one.rule.reason, "overridden": [rule.line for rule in one.overridden]}
        for one in explanation.resolved.decisions
    ]
    document = json_text(
        "policy explain",
        check=explanation.check,
        source=policy.source,
        decisions=decisions,
        undecided=explanation.undecided,
    )
    out.line(document)
    return ExitCode.OK


def _check_id(store: Store, text: str) -> str:
    """The id of a stored check, or a whole id of one that has no baseline yet."""
    try:
        return str(one_check(store, text, select_keys(store)))
    except UsageError:
        if text.count("::") >= 2 and "*" not in text:
            return text
        raise


@command(
    "check",
    examples=(
        Example("pytest-repro policy check", "Name the rules without a match."),
        Example("pytest-repro policy check --json", "The same for a program."),
        Example("pytest-repro policy check --baselines tests/baselines", "Of another folder."),
    ),
    exit_codes=(
        (ExitCode.OK, "every rule matches a check"),
        (ExitCode.DIFFERENT, "a rule matches none"),
        UNREADABLE,
    ),
)
@json_option
@with_place
def policy_check(out: Output, place: Place, as_json: bool) -> ExitCode:
    """Find rules that match no stored check.

    Such a rule is misspelt or left over.
    """
    store, policy = place.store(), place.policy()
    ids = sorted({str(entry.check) for entry in entries(store, select_keys(store))})
    idle = unmatched(policy, ids)
    if as_json:
        rows = [{"line": rule.line, "check": rule.glob} for rule in idle]
        out.line(json_text("policy check", source=policy.source, unmatched=rows))
        return ExitCode.DIFFERENT if idle else ExitCode.OK
    for rule in idle:
        out.line(
            f"{policy.source} line {rule.line}: {rule.glob!r} matches none of the stored checks"
        )
    rules, checks = count_text(len(policy.rules), "rule"), count_text(len(ids), "check")
    out.line(f"{rules} against {checks}: {len(idle):,} without a match")
    return ExitCode.DIFFERENT if idle else ExitCode.OK


@command(
    "verify",
    examples=(
        Example("pytest-repro verify", "Check the folder baselines."),
        Example("pytest-repro verify --all", "Read unchanged files again, too."),
        Example("pytest-repro verify --json", "The same for a program."),
    ),
    exit_codes=(
        (ExitCode.OK, "everything is whole"),
        (ExitCode.DIFFERENT, "a tensor is absent or was not pulled, or a file is stray"),
        (ExitCode.BASELINE, "a manifest or tensor is broken or untrue"),
    ),
)
@click.option("--all", "reads_all", is_flag=True, help="Read unchanged files again, too.")
@json_option
@with_place
def verify_(out: Output, place: Place, reads_all: bool, as_json: bool) -> ExitCode:
    """Check the integrity of every manifest and tensor.

    Reads every manifest and tensor and compares them with each other: digests of values and noise,
    dtype, shape, statistics, absent tensors, git-lfs pointers, stray files. Skips files that an
    earlier run found whole and whose size, time and inode are the same; --all reads them, too.
    """
    store, cache = place.store(), cache_folder()
    memory = Memory({}) if reads_all else load_memory(store.folder, cache)
    found = verify(store, memory=memory, track=out.track)
    memory.save(store.folder, cache)
    if as_json:
        out.line(json_text("verify", verification=found))
        return _verify_code(found.findings)
    for finding in found.findings:
        check = f" ({finding.check})" if finding.check else ""
        out.line(f"{finding.fault}: {finding.where}{check}\n  {finding.sentence}")
    looked = (
        f"{count_text(found.manifest_count, 'manifest')}, "
        f"{count_text(found.check_count, 'check')}, {count_text(found.tensor_count, 'tensor')}"
    )
    out.line(f"{looked}: {count_text(len(found.findings), 'fault')}")
    if found.remembered_count:
        unread = count_text(found.remembered_count, "file")
        out.line(f"{unread} skipped: unchanged since they were found whole; --all reads them, too")
    return _verify_code(found.findings)


def _verify_code(findings: Sequence[Finding]) -> ExitCode:
    if any(finding.fault.breaks for finding in findings):
        return ExitCode.BASELINE
    return ExitCode.DIFFERENT if findings else ExitCode.OK


@command(
    "accept",
    examples=(
        Example("pytest-repro accept report", "Show what accepting would change."),
        Example("pytest-repro accept report --check ddim --yes", "Accept some checks."),
        Example("pytest-repro accept report --interactive", "Ask about each check."),
    ),
    exit_codes=(
        (ExitCode.OK, "done, or shown"),
        (ExitCode.DIFFERENT, "a check was refused or left out; the others are done, or shown"),
        (ExitCode.BASELINE, "the report was changed after the run, or cannot be read"),
    ),
)
@click.argument("report", metavar="DIR", type=click.Path())
@yes_option("Write")
@click.option("--interactive", is_flag=True, help="Ask about every check, and write what you take.")
@click.option(
    "--check",
    metavar="GLOB",
    default="*",
    help="Only checks that match: a whole id is that check alone, '*' matches anything, and "
    "another text without '*' every check that contains it.",
)
@json_option
@with_place
def accept_(
    out: Output,
    place: Place,
    report: str,
    yes: bool,
    interactive: bool,
    check: str,
    as_json: bool,
) -> ExitCode:
    """Take over what another machine observed.

    DIR is the folder that pytest --repro-report DIR wrote there. Checks that it is what the run
    wrote and that every value was bitwise equal in at least two runs, shows what would change, and
    writes the values as baselines of the machine that computed them, never of this one. A check
    whose envelope is hard to believe is written only if --check names it in full, or if you take
    it with --interactive. Without --yes nothing is written.
    """
    if interactive and as_json:
        raise UsageError("--interactive asks on the terminal; it cannot go with --json")
    folder = Path(report)
    document = read_folder(folder)
    observed, target = open_observed(folder, document.files), place.target()
    found = candidates_of(observed, target, _chosen(document, check))
    if as_json:
        out.line(_candidates_json(found))
    else:
        for one in found:
            out.line("\n".join(candidate_lines(one)))
    new = [one for one in found if not one.refusal and not one.is_stored]
    doubtful = [one for one in new if one.warnings and str(one.observed.check) != check]
    if not interactive:
        new = [one for one in new if one not in doubtful]
    if interactive:
        questions = Questions(sys.stdin.readline, out.ask)
        new = [one for one in new if questions.wants(one)]
    writes = yes or interactive
    count = accept(observed, target, new) if writes else len(new)
    if not as_json:
        out.line(_accepted(found, count, writes=writes))
        if doubtful and not interactive:
            out.line(
                f"{count_text(len(doubtful), 'check')} with a warning left out; after a look at "
                f"the envelope: pytest-repro accept {shlex.quote(report)} --check "
                f"{shlex.quote(str(doubtful[0].observed.check))} --yes"
            )
    is_refused = any(one.refusal for one in found) or (bool(doubtful) and not interactive)
    return ExitCode.DIFFERENT if is_refused else ExitCode.OK


def _chosen(report: ReadReport, pattern: str) -> list[Claim]:
    # The page proposes whole ids; a whole id does not select checks whose ids only begin with it.
    chosen = [one for one in report.kept if one.check == pattern]
    chosen = chosen or [one for one in report.kept if selects(pattern, one.check)]
    if report.kept and not chosen:
        names = tuple(one.check for one in report.kept[:8])
        raise UsageError(f"--check: {pattern!r} selects none of the report's checks", facts=names)
    return chosen


def _accepted(found: Sequence[Candidate], count: int, *, writes: bool) -> str:
    refused = sum(bool(one.refusal) for one in found)
    stored = sum(one.is_stored and not one.refusal for one in found)
    verb = "accepted" if writes else "would be accepted; --yes writes"
    rest = [f"{refused} refused"] * bool(refused) + [f"{stored} unchanged"] * bool(stored)
    return ", ".join([f"{count_text(count, 'check')} {verb}", *rest])


def _candidates_json(found: Sequence[Candidate]) -> str:
    rows = [
        {
            "check": one.observed.check,
            "key": one.key,
            "runs": one.observed.provenance.runs,
            "refusal": one.refusal,
            "is_stored": one.is_stored,
            "is_new": one.baseline is None,
            "changes": one.changes,
            "warnings": one.warnings,
        }
        for one in found
    ]
    return json_text("accept", checks=rows)


@command(
    "merge",
    examples=(
        Example("pytest-repro merge shard-1 shard-2 -o report", "One report of two shards."),
        Example("pytest-repro merge cpu ascend -o report", "Two machines side by side."),
        Example("pytest-repro merge shards/* -o report", "All reports of a folder."),
    ),
    exit_codes=(
        (ExitCode.OK, "done"),
        (ExitCode.BASELINE, "a report was changed after its run, or cannot be read"),
    ),
)
@click.argument("reports", metavar="DIR...", nargs=-1, required=True, type=click.Path())
@click.option("--output", "-o", metavar="DIR", required=True, help="Folder of the new report.")
@with_place
def merge_(out: Output, place: Place, reports: tuple[str, ...], output: str) -> ExitCode:
    """Join the reports of several shards or machines.

    DIR is a folder that pytest --repro-report DIR wrote. Reads every report as accept does, so a
    report that was changed after its run is refused. The new report can be accepted as a whole.
    """
    target = Path(output)
    if target.resolve() in {Path(one).resolve() for one in reports}:
        raise UsageError(f"--output: {output} is one of the reports to merge")
    read = {one: read_folder(Path(one)) for one in reports}
    observed = [open_observed(Path(name), one.files) for name, one in read.items()]
    contents = join_contents(read)
    prepare_folder(target, "--output")
    join_observed(observed, Store(target / OBSERVED, root=target))
    line = write_folder(target, contents, [place.target()])
    out.line(f"{count_text(len(reports), 'report')} merged; {counted(contents.entries)}")
    out.line(line)
    return ExitCode.OK


@command(
    "rename",
    examples=(
        Example(
            "pytest-repro rename tests/test_ddim.py::test_ddim tests/test_ddim.py::test_image",
            "A test got another name: all its parameters and checks.",
        ),
        Example(
            "pytest-repro rename tests/test_ddim.py tests/ddim/test_ddim.py --yes",
            "A module was moved.",
        ),
        Example("pytest-repro rename tests/models tests/pipelines --yes", "A folder was."),
    ),
    exit_codes=DONE_OR_SHOWN,
)
@click.argument("old")
@click.argument("new")
@yes_option("Rename")
@key_option
@with_place
def rename_(out: Output, place: Place, old: str, new: str, yes: bool, key: str) -> ExitCode:
    """Let baselines follow a test to its new name or place.

    OLD and NEW are what the test had and has now: a folder, module, class, test or check, as ids
    of checks begin. Renames under all keys, so other machines need not record again. The stored
    values do not change. Names rules of policy.yaml that no longer match. Without --yes nothing is
    written.
    """
    store = place.store()
    found = find_renamings(store, select_keys(store, key), old, new)
    checks = sorted({(str(one.old), str(one.new)) for one in found})
    out.table(Table((Column("old"), Column("new")), tuple(checks)))
    for line in _rules_left_behind(place.policy(), checks):
        out.line(line)
    held = count_text(len({one.key for one in found}), "key")
    if not yes:
        out.line(f"{_entries(len(found))} under {held} would be renamed; --yes renames")
        return ExitCode.OK
    out.line(f"{_entries(rename(store, found))} under {held} renamed")
    return ExitCode.OK


def _rules_left_behind(policy: Policy, checks: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Rules of the policy that decide about an old id and not about the new one."""
    for rule in policy.rules:
        if any(matches(rule.glob, old) and not matches(rule.glob, new) for old, new in checks):
            yield f"{policy.source} line {rule.line}: {rule.glob!r} matches an old id, not the new"


@command(
    "migrate",
    examples=(
        Example("pytest-repro migrate", "Show what would be migrated."),
        Example("pytest-repro migrate --yes", "Migrate it."),
        Example("pytest-repro migrate --baselines tests/baselines --yes", "Another folder."),
    ),
    exit_codes=DONE_OR_SHOWN,
)
@yes_option("Migrate")
@with_place
def migrate_(out: Output, place: Place, yes: bool) -> ExitCode:
    """Move baselines of schema 1 to their complete keys.

    Writes every manifest of schema 1 again under the complete key that its recorded facts give.
    Tensors and records stay as they are. Without --yes nothing is written.
    """
    store = place.store()
    found = plan_migration(store)
    rows = tuple(
        (one.where, str(key), f"{len(baselines):,}")
        for one in found
        for key, baselines in one.parts.items()
    )
    columns = (Column("manifest"), Column("complete key"), Column("checks", right=True))
    out.table(Table(columns, rows))
    counted = count_text(len(found), "manifest")
    if not yes:
        out.line(f"{counted} would be migrated; --yes migrates")
        return ExitCode.OK
    migrate(store, found)
    out.line(f"{counted} migrated")
    return ExitCode.OK


@command(
    "prune",
    examples=(
        Example("pytest-repro prune", "Show what would be deleted."),
        Example("pytest-repro prune --yes", "Delete it."),
        Example(
            "pytest-repro prune --check 'tests/test_ddim.py::test_ddim::*' --yes",
            "Delete every check of a test, whether or not the test exists.",
        ),
    ),
    exit_codes=DONE_OR_SHOWN,
)
@yes_option("Delete")
@click.option(
    "--python",
    metavar="FILE",
    default=sys.executable,
    show_default="this one",
    help="Python that collects the tests.",
)
@click.option(
    "--check",
    metavar="ID",
    default="",
    help="Delete this check instead, whether or not its test exists; nothing is collected. The "
    "whole id, or a pattern with '*', which matches anything.",
)
@key_option
@with_place
def prune_(out: Output, place: Place, yes: bool, python: str, check: str, key: str) -> ExitCode:
    """Delete baselines whose test is gone.

    Collects the tests with pytest and deletes the baselines whose test is gone, under the keys of
    this machine's kind of hardware: tests for other hardware may be collected only there. --key
    selects keys of any hardware. Refuses if the collection had errors or was narrowed; keeps what
    belongs to a module or test that exists but was not collected. With --check deletes the checks
    that are named. Without --yes nothing is deleted.
    """
    store = place.store()
    keys = select_keys(store, key)
    if key == "*":
        keys = _keys_of_this_hardware(out, keys, place.setting("framework"))
    if check:
        doomed = named_entries(store, keys, check)
    else:
        out.error("collecting the tests ...")
        found = find_prunable(store, keys, collect_tests(place.root, python=python), place.root)
        doomed = found.orphans
        if found.unsure:
            modules = sorted({one.module for one in found.unsure})
            out.line(
                f"{count_text(len(found.unsure), 'check')} kept: the module or test exists but was "
                f"not collected ({', '.join(modules[:4])}{', ...' if len(modules) > 4 else ''})"
            )
    out.table(_doomed_table("check" if check else "orphan", doomed))
    if not yes:
        out.line(f"{_entries(len(doomed))} would be deleted; --yes deletes")
        return ExitCode.OK
    out.line(f"{_entries(prune(store, doomed))} deleted; pytest-repro gc frees their tensors")
    return ExitCode.OK


def _keys_of_this_hardware(
    out: Output, keys: Sequence[EnvironmentKey], framework: str
) -> tuple[EnvironmentKey, ...]:
    kind = own_kind(framework, default_framework())
    here = tuple(key for key in keys if is_of_kind(key, kind))
    if others := [str(key) for key in keys if key not in here]:
        names = ", ".join(others[:4]) + (", ..." if len(others) > 4 else "")
        out.line(f"other hardware than {kind.value}, left alone without --key: {names}")
    return here


def _doomed_table(noun: str, doomed: Sequence[Entry]) -> Table:
    rows = tuple((str(entry.check), str(entry.key)) for entry in doomed)
    return Table((Column(noun), Column("key")), rows)


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count:,} entries"


def _whole_age(_: click.Context, __: click.Parameter, age_s: float) -> float:
    if not 0.0 <= age_s < math.inf:
        raise click.BadParameter(f"{age_s} is not a number of seconds from 0")
    return age_s


@command(
    "gc",
    examples=(
        Example("pytest-repro gc", "Show what would be deleted."),
        Example("pytest-repro gc --yes", "Delete it."),
        Example("pytest-repro gc --repack --yes", "Store older traces in a third of the space."),
    ),
    exit_codes=DONE_OR_SHOWN,
)
@yes_option("Delete or rewrite")
@click.option("--repack", "repacks", is_flag=True, help="Rewrite traces of an older format.")
@click.option(
    "--older-than-s",
    "age_s",
    metavar="SECONDS",
    type=float,
    callback=_whole_age,
    default=3600.0,
    help="Keep younger files: a recording writes tensors before it names them (default: 3600).",
)
@with_place
def gc(out: Output, place: Place, yes: bool, repacks: bool, age_s: float) -> ExitCode:
    """Delete tensors that no manifest names.

    Also deletes temporary files that a killed run left. --repack instead rewrites traces of an
    older format and deletes only the files that it replaces. Without --yes nothing changes.
    """
    store = place.store()
    if repacks:
        _repack(out, store, writes=yes)
        return ExitCode.OK
    garbage = find_garbage(store, now_s=time.time(), least_age_s=age_s, track=out.track)
    for file in garbage.files[:_LISTED]:
        out.line(store.shown(file.path))
    if len(garbage.files) > _LISTED:
        out.line(f"and {count_text(len(garbage.files) - _LISTED, 'more file')}")
    if garbage.young_count:
        out.line(
            f"{count_text(garbage.young_count, 'file')} kept: written less than {age_s:g} s ago, "
            "perhaps by a recording that is not done"
        )
    what = (
        f"{count_text(len(garbage.tensors), 'tensor')} that no manifest names, "
        f"{count_text(len(garbage.temporaries), 'temporary file')}"
    )
    if yes:
        out.line(f"{what}: deleted, {delete_files(garbage.files):,} bytes freed")
    else:
        size_bytes = sum(file.size_bytes for file in garbage.files)
        out.line(f"{what}, {size_bytes:,} bytes, would be deleted; --yes deletes")
    return ExitCode.OK


def _repack(out: Output, store: Store, *, writes: bool) -> None:
    older = find_older(store, track=out.track)
    counted = count_text(len(older), "trace")
    if not writes:
        out.line(f"{counted} of an older format would be rewritten; --yes rewrites")
        return
    done = repack(store, older)
    out.line(f"{counted} rewritten: {done.bytes_before:,} bytes before, {done.bytes_after:,} after")
