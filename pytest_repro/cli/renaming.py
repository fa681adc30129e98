"""The subcommand that lets baselines follow a test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_repro.cli.context import Context
from pytest_repro.errors import ExitCode
from pytest_repro.report.tables import Column, Table, count_text
from pytest_repro.store.rename import find_renamings, rename
from pytest_repro.store.select import select_keys
from pytest_repro.tolerance.policy import matches


def rename_(context: Context) -> ExitCode:
    """Stored checks of a test that was renamed or moved."""
    store = context.store()
    keys = select_keys(store, context.text("key"))
    found = find_renamings(store, keys, context.text("old"), context.text("new"))
    checks = sorted({(str(one.old), str(one.new)) for one in found})
    context.output.table(Table((Column("old"), Column("new")), tuple(checks)))
    for line in _rules_left_behind(context, checks):
        context.output.line(line)
    held = count_text(len({one.key for one in found}), "key")
    if not context.has("yes"):
        context.output.line(f"{_count(len(found))} under {held} would be renamed; --yes renames")
        return ExitCode.OK
    context.output.line(f"{_count(rename(store, found))} under {held} renamed")
    return ExitCode.OK


def _rules_left_behind(context: Context, checks: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Rules of the policy that decide about an old id and not about the new one."""
    policy = context.policy()
    for rule in policy.rules:
        if any(matches(rule.glob, old) and not matches(rule.glob, new) for old, new in checks):
            yield f"{policy.source} line {rule.line}: {rule.glob!r} matches an old id, not the new"


def _count(entries: int) -> str:
    return "1 entry" if entries == 1 else f"{entries:,} entries"
