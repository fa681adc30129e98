"""The subcommand that moves baselines of schema 1 to their complete keys."""

from __future__ import annotations

from pytest_repro.cli.context import Context
from pytest_repro.errors import ExitCode
from pytest_repro.report.tables import Column, Table, count_text
from pytest_repro.store.migrate import migrate, plan_migration


def migrate_(context: Context) -> ExitCode:
    """Manifests of schema 1."""
    store = context.store()
    found = plan_migration(store)
    rows = [
        (one.where, str(key), f"{len(baselines):,}")
        for one in found
        for key, baselines in one.parts.items()
    ]
    columns = (Column("manifest"), Column("complete key"), Column("checks", right=True))
    context.output.table(Table(columns, tuple(rows)))
    counted = count_text(len(found), "manifest")
    if not context.has("yes"):
        context.output.line(f"{counted} would be migrated; --yes migrates")
        return ExitCode.OK
    migrate(store, found)
    context.output.line(f"{counted} migrated")
    return ExitCode.OK
