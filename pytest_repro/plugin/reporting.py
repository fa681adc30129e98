"""Collects the report and the job summary, from this process and from its workers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_repro.plugin.active import ActiveTest
    from pytest_repro.report.failure import Invocation
    from pytest_repro.settings import Settings


_FOLDER = "repro_report"


def settings_in_worker(config: pytest.Config, settings: Settings) -> Settings:
    """The settings of this process; a worker writes artefacts to the controller's folder."""
    workerinput: Mapping[str, Any] | None = getattr(config, "workerinput", None)
    if workerinput is None or not settings.report:
        return settings
    return replace(settings, report=str(workerinput.get(_FOLDER, "")))


def invocation_of(config: pytest.Config) -> Invocation:
    """How this run was called; in a worker, how its controller was."""
    from pytest_repro.report.failure import Invocation, kept_options

    workerinput: Mapping[str, Any] | None = getattr(config, "workerinput", None)
    called_with = config.invocation_params.args
    if workerinput is not None:
        called_with = workerinput.get("mainargv", ("",))[1:]
    folder, root = str(config.invocation_params.dir), str(config.rootpath)
    return Invocation(folder, root, kept_options([str(one) for one in called_with]))


def entries_of_test(active: ActiveTest) -> dict[str, Any]:
    """What a test's report sends to the controller, as primitives."""
    from pytest_repro.report.document import entries_from, sites_from

    context = active.context
    entries = entries_from(active.outcomes, active.artefacts, str(context.key))
    for entry in entries:
        if "called_at" in entry:
            entry["called_at"] = context.shown(entry["called_at"])
    return {
        "checks": entries,
        "sites": sites_from(active.outcomes, active.artefacts),
    }


class Reporting:
    """The report of one run; in the controller, or in the only process."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        called_in = config.invocation_params.dir
        self.folder = called_in / settings.report if settings.report else None
        self._called_in = called_in
        self._summary = called_in / settings.summary if settings.summary else None
        self._problems = called_in / settings.code_quality if settings.code_quality else None
        self._baselines = config.rootpath / settings.baselines
        self._root = config.rootpath
        self._checks: dict[str, dict[str, Any]] = {}
        self._sites: dict[str, dict[str, Any]] = {}
        self._notes: list[str] = []

    def prepare(self) -> None:
        """Empty the report's folder of an earlier report.

        Raises:
            UsageError: There are other things in it.
            StoreError: It cannot be written.
        """
        if self.folder is not None:
            from pytest_repro.report.folder import prepare_folder

            prepare_folder(self.folder, "--repro-report")

    def tell_worker(self, node: Any) -> None:
        """Tell a worker where artefacts go; nowhere, if it does not share the disk."""
        shares_disk = bool(node.gateway.spec.popen)
        node.workerinput[_FOLDER] = str(self.folder) if self.folder and shares_disk else ""
        if self.folder and not shares_disk:
            name = node.gateway.id
            self._notes.append(f"worker {name} does not share the disk: its tensors are missing")

    def take(self, carried: Mapping[str, Any]) -> None:
        """Add what a test's report sent; a rerun replaces earlier attempts."""
        self._checks.update({str(one["check"]): one for one in carried["checks"]})
        self._sites.update(carried["sites"])

    def correct(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Correct the verdicts of checks to those of these rows."""
        for row in rows:
            self._checks[row["check"]] = {**self._checks[row["check"]], "verdict": row["verdict"]}

    def write(self, idle: Iterable[str], made_at: str, notes: Iterable[str] = ()) -> list[str]:
        """Write everything, and return lines for the terminal that say where.

        ``idle`` are marked tests that checked nothing, ``notes`` sentences about what is missing.

        Raises:
            StoreError: The folder or the summary cannot be written.
        """
        from pytest_repro.report.folder import Contents, write_folder
        from pytest_repro.report.summary import code_quality_text, summary_text
        from pytest_repro.store.store import Store

        self._notes.extend(notes)
        lines = []
        entries = sorted(self._checks.values(), key=lambda one: str(one["check"]))
        contents = Contents(entries, self._sites, made_at, self._notes, sorted(idle))
        if self.folder is not None:
            baselines = Store(self._baselines, root=self._root)
            lines.append(write_folder(self.folder, contents, [baselines]))
        if self._summary is not None:
            _write(self._summary, summary_text(entries, contents.idle, self._notes))
        if self._problems is not None:
            _write(self._problems, code_quality_text(entries, self._near))
        return lines

    def _near(self, path: str) -> str:
        """A path below the root folder, as it is below GitLab's checkout."""
        checkout = os.environ.get("CI_PROJECT_DIR") or self._called_in
        return os.path.relpath(self._root / path, checkout).replace(os.sep, "/")


def _write(path: Path, text: str) -> None:
    from pytest_repro.report.folder import unwritable

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error) from error
