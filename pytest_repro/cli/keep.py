"""The subcommands that look after what is stored: policy, verify, prune, gc, completion."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from pytest_repro.cli.completion import completion_script
from pytest_repro.cli.context import Context
from pytest_repro.cli.showing import explanation_lines
from pytest_repro.environment.key import is_of_kind
from pytest_repro.environment.observe import own_kind
from pytest_repro.errors import ExitCode, UsageError
from pytest_repro.frameworks.framework import default_framework
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.report.tables import Column, Table, count_text, json_text
from pytest_repro.store.inventory import delete_files
from pytest_repro.store.prune import Garbage, collect_tests, find_garbage, find_prunable
from pytest_repro.store.prune import prune as prune_entries
from pytest_repro.store.select import Entry, entries, named_entries, one_check, select_keys
from pytest_repro.store.store import Store
from pytest_repro.store.verify import Finding, verify
from pytest_repro.tolerance.policy import explain, unmatched

_LISTED = 20


def policy_explain(context: Context) -> ExitCode:
    """Which rule of the policy decides what about a check."""
    policy = context.policy()
    explanation = explain(policy, _check_id(context))
    if context.has("json"):
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
        context.output.line(document)
        return ExitCode.OK
    for line in explanation_lines(explanation):
        context.output.line(line)
    return ExitCode.OK


def policy_check(context: Context) -> ExitCode:
    """Rules of the policy that match no stored check."""
    store, policy = context.store(), context.policy()
    ids = sorted({str(entry.check) for entry in entries(store, select_keys(store))})
    idle = unmatched(policy, ids)
    if context.has("json"):
        rows = [{"line": rule.line, "check": rule.glob} for rule in idle]
        context.output.line(json_text("policy check", source=policy.source, unmatched=rows))
        return ExitCode.DIFFERENT if idle else ExitCode.OK
    for rule in idle:
        line = f"{policy.source} line {rule.line}: {rule.glob!r} matches none of the stored checks"
        context.output.line(line)
    rules, checks = count_text(len(policy.rules), "rule"), count_text(len(ids), "check")
    context.output.line(f"{rules} against {checks}: {len(idle):,} without a match")
    return ExitCode.DIFFERENT if idle else ExitCode.OK


def _check_id(context: Context) -> str:
    """A policy may be asked about a check that was never recorded, if its id is given in full."""
    store, text = context.store(), context.text("check")
    try:
        return str(one_check(store, text, select_keys(store)))
    except UsageError:
        if text.count("::") >= 2 and "*" not in text:
            return text
        raise


def verify_(context: Context) -> ExitCode:
    """The integrity of every manifest and tensor."""
    found = verify(context.store(), track=context.output.track)
    if context.has("json"):
        context.output.line(json_text("verify", verification=found))
        return _verify_code(found.findings)
    for finding in found.findings:
        check = f" ({finding.check})" if finding.check else ""
        context.output.line(f"{finding.fault}: {finding.where}{check}\n  {finding.sentence}")
    looked = (
        f"{count_text(found.manifest_count, 'manifest')}, "
        f"{count_text(found.check_count, 'check')}, {count_text(found.tensor_count, 'tensor')}"
    )
    context.output.line(f"{looked}: {count_text(len(found.findings), 'fault')}")
    return _verify_code(found.findings)


def _verify_code(findings: Sequence[Finding]) -> ExitCode:
    if any(finding.fault.breaks for finding in findings):
        return ExitCode.BASELINE
    return ExitCode.DIFFERENT if findings else ExitCode.OK


def prune(context: Context) -> ExitCode:
    """Baselines whose test is gone, or those of the checks that are named."""
    store = context.store()
    keys = select_keys(store, context.text("key"))
    if context.text("key") == "*":
        keys = _keys_of_this_hardware(context, keys)
    doomed = (
        _named(context, store, keys) if context.text("check") else _orphans(context, store, keys)
    )
    context.output.table(_doomed_table("check" if context.text("check") else "orphan", doomed))
    if not context.has("yes"):
        context.output.line(f"{_entries(len(doomed))} would be deleted; --yes deletes")
        return ExitCode.OK
    gone = prune_entries(store, doomed)
    context.output.line(f"{_entries(gone)} deleted; pytest-repro gc frees their tensors")
    return ExitCode.OK


def _keys_of_this_hardware(
    context: Context, keys: Sequence[EnvironmentKey]
) -> tuple[EnvironmentKey, ...]:
    kind = own_kind(context.setting("framework"), default_framework())
    here = tuple(key for key in keys if is_of_kind(key, kind))
    if others := [str(key) for key in keys if key not in here]:
        names = ", ".join(others[:4]) + (", ..." if len(others) > 4 else "")
        context.output.line(f"other hardware than {kind.value}, left alone without --key: {names}")
    return here


def _named(context: Context, store: Store, keys: Sequence[EnvironmentKey]) -> tuple[Entry, ...]:
    return named_entries(store, keys, context.text("check"))


def _orphans(context: Context, store: Store, keys: Sequence[EnvironmentKey]) -> tuple[Entry, ...]:
    context.output.error("collecting the tests ...")
    collection = collect_tests(context.root, python=context.text("python") or sys.executable)
    found = find_prunable(store, keys, collection, context.root)
    if found.unsure:
        modules = sorted({check.module for check in found.unsure})
        context.output.line(
            f"{count_text(len(found.unsure), 'check')} kept: the module or test exists but was not "
            f"collected ({', '.join(modules[:4])}{', ...' if len(modules) > 4 else ''})"
        )
    return found.orphans


def _doomed_table(noun: str, doomed: Sequence[Entry]) -> Table:
    rows = tuple((str(entry.check), str(entry.key)) for entry in doomed)
    return Table((Column(noun), Column("key")), rows)


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count:,} entries"


def gc(context: Context) -> ExitCode:
    """Tensors that no manifest names, and left-over temporary files."""
    store = context.store()
    age_s = _age_s(context.text("older_than_s"))
    garbage = find_garbage(store, now_s=time.time(), least_age_s=age_s, track=context.output.track)
    for file in garbage.files[:_LISTED]:
        context.output.line(store.shown(file.path))
    if len(garbage.files) > _LISTED:
        context.output.line(f"and {count_text(len(garbage.files) - _LISTED, 'more file')}")
    if garbage.young_count:
        context.output.line(
            f"{count_text(garbage.young_count, 'file')} kept: written less than {age_s:g} s ago, "
            "perhaps by a recording that is not done"
        )
    context.output.line(_gc_sentence(context, garbage))
    return ExitCode.OK


def _gc_sentence(context: Context, garbage: Garbage) -> str:
    what = (
        f"{count_text(len(garbage.tensors), 'tensor')} that no manifest names, "
        f"{count_text(len(garbage.temporaries), 'temporary file')}"
    )
    if context.has("yes"):
        return f"{what}: deleted, {delete_files(garbage.files):,} bytes freed"
    size_bytes = sum(file.size_bytes for file in garbage.files)
    return f"{what}, {size_bytes:,} bytes, would be deleted; --yes deletes"


def _age_s(text: str) -> float:
    try:
        age_s = float(text)
    except ValueError:
        age_s = -1.0
    if not 0.0 <= age_s < float("inf"):
        raise UsageError(f"--older-than-s: {text!r} is not a number of seconds from 0")
    return age_s


def completion(context: Context) -> ExitCode:
    """A completion script."""
    from pytest_repro.cli.app import COMMANDS
    from pytest_repro.cli.parser import build_parser

    context.output.line(completion_script(build_parser(COMMANDS), context.text("shell")))
    return ExitCode.OK
