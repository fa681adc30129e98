"""The command `accept`: values that another machine observed become its baselines."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pytest_repro.environment.key import parse_key
from pytest_repro.errors import CorruptBaseline, EnvironmentFault, StoreError
from pytest_repro.model.baseline import Baseline, Envelope, TensorSummary
from pytest_repro.model.ids import CheckId, Digest, EnvironmentKey, TensorRecord
from pytest_repro.model.outcome import Candidate, Change, Claim
from pytest_repro.model.words import Verdict
from pytest_repro.store.files import Row
from pytest_repro.store.named import record_digests
from pytest_repro.store.store import Store
from pytest_repro.store.system import read_regular
from pytest_repro.store.verify import verify
from pytest_repro.tensors.compare import compare_records, compare_summaries

Tensors = Callable[[Digest], TensorRecord | None]

OBSERVED = "observed"
"""The folder of a report with the observed values, laid out like a baselines folder."""

_LEAST_RUNS = 2
_WIDER = 10.0
_AMPLIFIED = 2000.0
"""UnCLIP, the pipeline that amplifies most, reaches 210; ten times that is not rounding."""
_NOT_REPEATABLE = frozenset({Verdict.NONDETERMINISTIC, Verdict.CORRUPT})
_NEXT = "fetch the report again, or make it again: pytest --repro-report DIR"


def open_observed(folder: Path, files: Mapping[str, str]) -> Store:
    """The observed values of a report, all read and verified.

    ``files`` are the SHA-256 digests of the observed manifests, from the report.

    Raises:
        CorruptBaseline: A manifest, tensor or trace is absent, superfluous, or was changed.
        StoreError: A manifest cannot be read.
    """
    store = Store(folder / OBSERVED, root=folder)
    manifests = {path.relative_to(folder).as_posix() for path in store.folder.rglob("*.yaml")}
    for name in sorted(manifests ^ files.keys()):
        raise _tampered("a manifest was added or removed", folder / name)
    for name, digest in files.items():
        if _digest_of(folder / name) != digest:
            raise _tampered("a manifest was changed after the run", folder / name)
    for key in store.keys():  # noqa: SIM118  a method of the store, not of a mapping
        _require_key(folder, key)
    for finding in verify(store).findings:
        raise _tampered(f"{finding.fault}: {finding.sentence}", folder / finding.where)
    for _, baseline in _all_baselines(store):
        records_of(store, baseline)
    return store


def _require_key(folder: Path, key: EnvironmentKey) -> None:
    try:
        parse_key(str(key))
    except EnvironmentFault as error:
        raise _tampered(error.what, folder / OBSERVED / key.hardware / key.framework) from error


def _digest_of(manifest: Path) -> str:
    try:
        return hashlib.sha256(read_regular(manifest)).hexdigest()
    except OSError as error:
        raise StoreError(
            "a manifest of the report cannot be read",
            facts=(error.strerror or str(error),),
            where=str(manifest),
            next_step=_NEXT,
        ) from error


def _all_baselines(store: Store) -> Iterable[tuple[EnvironmentKey, Baseline]]:
    keys = store.keys()
    for key in keys:
        for module in store.modules(key):
            for baseline in store.manifest(key, module):
                yield key, baseline


def _tampered(fact: str, place: Path) -> CorruptBaseline:
    return CorruptBaseline(
        "the report was changed after the run; nothing of it is accepted",
        facts=(fact,),
        where=str(place),
        next_step=_NEXT,
    )


def records_of(store: Store, baseline: Baseline) -> Mapping[Digest, Sequence[Row]]:
    """The stored traces and tables that a baseline names, verified.

    Raises:
        CorruptBaseline: One has another digest than its name.
    """
    found: dict[Digest, Sequence[Row]] = {}
    for named, digest_of in record_digests(baseline):
        rows = store.rows(named)
        if rows is None:
            continue
        if (digest := digest_of(rows)) != named:
            raise _tampered(f"its content has the digest {digest}", store.record_path(named))
        found[named] = rows
    return found


def candidates_of(observed: Store, target: Store, claims: Iterable[Claim]) -> tuple[Candidate, ...]:
    """What the claims of a report would change in ``target``, in the order of the claims.

    Raises:
        CorruptBaseline: A claim has no value in the report, or contradicts it.
    """
    held = {(str(key), str(one.check)): (key, one) for key, one in _all_baselines(observed)}
    return tuple(
        _candidate(observed, target, claim, *held[claim.key, claim.check])
        if (claim.key, claim.check) in held
        else _raise_unheld(claim, observed)
        for claim in claims
    )


def _raise_unheld(claim: Claim, observed: Store) -> Candidate:
    raise CorruptBaseline(
        f"{claim.check}: the report has no observed value of it",
        facts=("a worker without a shared disk sends only its verdicts, not its tensors",),
        where=str(observed.folder),
        next_step="accept the others with --check GLOB, or run that worker with its own report",
    )


def _candidate(
    observed: Store, target: Store, claim: Claim, key: EnvironmentKey, seen: Baseline
) -> Candidate:
    stored = _stored(target, key, seen.check)
    is_stored = stored is not None and stored.index == seen.index
    refusal = _refusal(claim, seen)
    if stored is None or is_stored:
        changes: tuple[Change, ...] = ()
    else:
        changes = tuple(changes_of(stored, target.tensor, seen, observed.tensor))
    return Candidate(key, seen, stored, refusal, is_stored, changes, _doubts(seen, stored))


def _doubts(seen: Baseline, stored: Baseline | None) -> tuple[str, ...]:
    """Why the envelopes of a report are doubtful: they decide every later fallback."""
    before = {one.path: one.envelope for one in stored.tensors} if stored else {}
    found = (
        (one, _doubt(one.envelope, before.get(one.path)))
        for one in seen.tensors
        if one.envelope is not None
    )
    return tuple(f"{one.path or 'value'}: {doubt}" for one, doubt in found if doubt)


def _doubt(envelope: Envelope, before: Envelope | None) -> str:
    moved, given = envelope.rel_l2_max, envelope.input_rel_l2
    if not math.isfinite(moved) or given <= 0.0:
        return "the envelope measured nothing"
    if before is not None and moved > _WIDER * before.rel_l2_max > 0.0:
        wider = moved / before.rel_l2_max
        return f"the envelope is {wider:.3g} times as wide as the stored one"
    if moved > _AMPLIFIED * given:
        return f"the envelope is {moved / given:.3g} times the perturbation of the noise"
    return ""


def _refusal(claim: Claim, seen: Baseline) -> str:
    if claim.verdict in _NOT_REPEATABLE:
        return f"its verdict is {claim.verdict}"
    if claim.runs != seen.provenance.runs:
        return f"the report counts {claim.runs} runs, its manifest {seen.provenance.runs}"
    if claim.runs < _LEAST_RUNS:
        return "it ran only once, so it did not pass the gate `repeatable`"
    return ""


def _stored(target: Store, key: EnvironmentKey, check: CheckId) -> Baseline | None:
    if check.entry not in target.index(key, check.module):
        return None
    return target.baseline(key, check)


def changes_of(stored: Baseline, old: Tensors, seen: Baseline, new: Tensors) -> Iterator[Change]:
    """What replacing ``stored`` with ``seen`` changes, tensor by tensor.

    ``old`` and ``new`` find their tensors; ``None`` if one is absent.
    """
    before = {one.path: one for one in stored.tensors}
    now = {one.path: one for one in seen.tensors}
    for path in {**before, **now}:
        if path not in now:
            yield Change(path, "goes")
        elif path not in before:
            yield Change(path, f"is new: {now[path].dtype} {now[path].shape}")
        elif before[path].digest != now[path].digest:
            yield _change(before[path], old, now[path], new)


def _change(before: TensorSummary, old: Tensors, now: TensorSummary, new: Tensors) -> Change:
    if (before.dtype, before.shape) != (now.dtype, now.shape):
        sentence = f"{before.dtype} {before.shape} becomes {now.dtype} {now.shape}"
        return Change(before.path, sentence)
    one, other = old(before.digest), new(now.digest)
    if one is None or other is None:
        return Change(before.path, difference=compare_summaries(before, now))
    return Change(before.path, difference=compare_records(one, other))


def accept(observed: Store, target: Store, chosen: Iterable[Candidate]) -> int:
    """Write the chosen values as baselines of the machine that recorded them, and count them.

    Raises:
        StoreError: The folder cannot be written; nothing that was stored is lost.
    """
    groups: dict[tuple[EnvironmentKey, str], list[Baseline]] = {}
    for one in chosen:
        if not one.refusal and not one.is_stored:
            groups.setdefault((one.key, one.observed.check.module), []).append(one.observed)
    for (key, module), baselines in groups.items():
        _copy(observed, target, key, module, baselines)
    return sum(len(baselines) for baselines in groups.values())


def join_observed(sources: Iterable[Store], target: Store) -> None:
    """Copy the observed values of several reports into one folder.

    Raises:
        StoreError: The folder cannot be written.
    """
    for source in sources:
        keys = source.keys()
        for key in keys:
            for module in source.modules(key):
                _copy(source, target, key, module, source.manifest(key, module))


def _copy(
    source: Store, target: Store, key: EnvironmentKey, module: str, baselines: Sequence[Baseline]
) -> None:
    for baseline in baselines:
        target.write_tensors(_tensors(source, baseline))
        target.write_rows(records_of(source, baseline))
    target.write(key, module, baselines, ())


def _tensors(observed: Store, baseline: Baseline) -> Iterable[TensorRecord]:
    for one in baseline.tensors:
        record = observed.tensor(one.digest)
        assert record is not None  # `open_observed` has read it
        yield record
