"""Tensors and records in a dataset repository on the Hub, pinned by commit in ``hub.yaml``.

Manifests stay in git. Names are digests, so a file never changes: a push only adds, and what a
pull brings is verified before it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NoReturn

from pytest_repro.errors import CorruptBaseline, HubConflict, HubError, StoreError
from pytest_repro.model.baseline import Baseline
from pytest_repro.model.ids import Digest, EnvironmentKey
from pytest_repro.store.files import corrupt, decode_rows, decode_tensor, folder_lock
from pytest_repro.store.hub import Committed, Dataset, forget
from pytest_repro.store.inventory import FileKind, kind_of
from pytest_repro.store.layout import TENSORS, Layout
from pytest_repro.store.named import DigestOfRows, record_digests, tensor_digests
from pytest_repro.store.select import selects
from pytest_repro.store.store import Store
from pytest_repro.store.system import is_file, is_there, make_folder, read_regular, write_bytes

_LINE = re.compile(r"(repository|commit):\s*(['\"]?)([\w./-]+)\2\s*(?:#.*)?")
_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_AT_ONCE = 8
_NAMED = 8

Track = Callable[[Iterable[str], str], Iterable[str]]
Verify = Callable[[bytes, str], None]


@dataclass(frozen=True, slots=True)
class Pin:
    """Where the tensors are: the repository ``owner/name`` and a commit, ``""`` before a push."""

    repository: str
    commit: str = ""


def read_pin(layout: Layout) -> Pin | None:
    """What ``hub.yaml`` says; ``None`` without the file.

    Raises:
        StoreError: It cannot be read, or is not two lines ``repository: owner/name`` and
            ``commit: <40 digits>``.
    """
    path = layout.pin_path
    if not is_there(path):
        return None
    try:
        text = read_regular(path).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _bad_pin(layout, str(error)) from error
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        match = _LINE.fullmatch(line)
        if match is not None and match[1] not in found:
            found[match[1]] = match[3]
        elif not line.startswith("#"):
            raise _bad_pin(layout, f"the line {line[:80]!r}")
    if not _NAME.fullmatch(found.get("repository", "")):
        raise _bad_pin(layout, "it names no repository owner/name")
    if not _COMMIT.fullmatch(found.get("commit", "")):
        raise _bad_pin(layout, "it names no commit of 40 hexadecimal digits")
    return Pin(found["repository"], found["commit"])


def _bad_pin(layout: Layout, fact: str) -> StoreError:
    return StoreError(
        "the repository of the tensors cannot be read",
        facts=(fact,),
        where=layout.shown(layout.pin_path),
        next_step="write two lines, repository: owner/name and commit: <40 digits>",
    )


def require_pin(layout: Layout) -> Pin:
    """What ``hub.yaml`` says.

    Raises:
        StoreError: There is no such file, or it cannot be used.
    """
    pin = read_pin(layout)
    if pin is None:
        raise StoreError(
            f"there is no {layout.shown(layout.pin_path)}: the tensors are not on the Hub",
            next_step="pytest-repro push --repository OWNER/NAME, a dataset repository of yours",
        )
    return pin


@dataclass(frozen=True, slots=True)
class NamedFiles:
    """Files that manifests name, by their path below the baselines folder.

    Attributes:
        verify: Raises `CorruptBaseline` for other content than the name promises.
        needed: Those that every recording writes: the tensors of values.
    """

    verify: Mapping[str, Verify]
    needed: frozenset[str]


def named_files(store: Store, keys: Iterable[EnvironmentKey], pattern: str = "*") -> NamedFiles:
    """What the baselines of the checks that ``pattern`` selects name.

    Raises:
        BaselineError: A manifest cannot be used.
    """
    verify: dict[str, Verify] = {}
    needed: set[str] = set()
    for key in keys:
        for module in store.modules(key):
            for baseline in store.manifest(key, module):
                if pattern == "*" or selects(pattern, str(baseline.check)):
                    verify |= _files_of(store, baseline)
                    paths = (store.tensor_path(one.digest) for one in baseline.tensors)
                    needed.update(_relative(store, path) for path in paths)
    # A digest in a manifest that was edited could lead to any path.
    kinds = (FileKind.TENSOR, FileKind.RECORD)
    good = {name: one for name, one in verify.items() if kind_of(PurePosixPath(name)) in kinds}
    return NamedFiles(good, frozenset(needed & good.keys()))


def _files_of(store: Store, baseline: Baseline) -> dict[str, Verify]:
    tensors = {
        _relative(store, store.tensor_path(digest)): _tensor_check(digest)
        for digest in tensor_digests(baseline)
    }
    records = {
        _relative(store, store.record_path(digest)): _rows_check(digest, digest_of)
        for digest, digest_of in record_digests(baseline)
    }
    return tensors | records


def _tensor_check(digest: Digest) -> Verify:
    def verify(data: bytes, where: str) -> None:
        decode_tensor(data, digest=digest, where=where)

    return verify


def _rows_check(digest: Digest, digest_of: DigestOfRows) -> Verify:
    def verify(data: bytes, where: str) -> None:
        if digest_of(decode_rows(data, where=where)) != digest:
            raise corrupt(where, "its content has another digest than its name")

    return verify


def _relative(layout: Layout, path: Path) -> str:
    return path.relative_to(layout.folder).as_posix()


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push uploaded, and the commit that ``hub.yaml`` names now."""

    count: int
    size_bytes: int
    made: Committed


def push(store: Store, pin: Pin, *, onto_newest: bool, track: Track) -> Pushed:
    """Upload what manifests name and the Hub lacks, in one commit, and pin that commit.

    Builds on the pinned commit, or with ``onto_newest`` on the newest one. ``hub.yaml`` is written
    last, after the Hub has listed every file under the new commit.

    Raises:
        HubConflict: The repository has newer commits than the pinned one.
        HubError: Unreachable, no access, or the commit lacks a file.
        CorruptBaseline: A file to upload is broken.
        StoreError: A tensor is neither here nor on the Hub.
    """
    files = named_files(store, store.keys())
    hub = Dataset(pin.repository)
    parent = _parent(store, hub, pin, onto_newest=onto_newest)
    there = hub.sizes(parent, sorted(files.verify))
    lacking = sorted(files.verify.keys() - there)
    new = {name: store.folder / name for name in lacking if is_file(store.folder / name)}
    _require_all(pin, sorted(files.needed - there.keys() - new.keys()))
    sizes = {name: _verified_size(store, name, files) for name in track(new, "verified")}
    made = Committed(parent, "")
    if new:
        made = _add(store, hub, parent, new)
        _require_listed(hub, made.commit, sizes)
    write_pin(store, replace(pin, commit=made.commit))
    return Pushed(len(new), sum(sizes.values()), made)


def _parent(store: Store, hub: Dataset, pin: Pin, *, onto_newest: bool) -> str:
    head = hub.head()
    if pin.commit not in ("", head) and not onto_newest:
        _refuse_moved(store, hub, pin.commit, f"its newest commit is {head}")
    return head


def _add(store: Store, hub: Dataset, parent: str, new: Mapping[str, Path]) -> Committed:
    try:
        return hub.add(parent, new, f"Add {len(new):,} tensors and records of pytest-repro")
    except HubConflict:
        _refuse_moved(store, hub, parent, "another push came at the same time")


def _refuse_moved(store: Store, hub: Dataset, commit: str, fact: str) -> NoReturn:
    raise HubConflict(
        f"{hub.name} on the Hub has newer commits than the pinned one; nothing was pushed",
        facts=(f"pinned {commit}", fact),
        where=store.shown(store.pin_path),
        next_step="git pull, then pytest-repro push; or pytest-repro push --onto-newest, which "
        "keeps what the newer commits added",
    )


def _require_all(pin: Pin, lost: list[str]) -> None:
    if lost:
        raise StoreError(
            f"{len(lost):,} tensors that manifests name are neither here nor in {pin.repository}",
            facts=_some(lost),
            next_step="push from the machine that recorded them; pytest-repro verify names their "
            "checks",
        )


def _some(names: list[str]) -> tuple[str, ...]:
    more = (f"and {len(names) - _NAMED:,} more",) if len(names) > _NAMED else ()
    return (*names[:_NAMED], *more)


def _verified_size(store: Store, name: str, files: NamedFiles) -> int:
    path = store.folder / name
    store.refuse_outside(path)
    try:
        data = read_regular(path)
    except OSError as error:
        raise StoreError(
            "cannot read a file", facts=(str(error),), where=store.shown(path)
        ) from error
    files.verify[name](data, store.shown(path))
    return len(data)


def _require_listed(hub: Dataset, commit: str, sizes: Mapping[str, int]) -> None:
    listed = hub.sizes(commit, sorted(sizes))
    lost = sorted(name for name, size in sizes.items() if listed.get(name) != size)
    if lost:
        raise HubError(
            f"the commit {commit} of {hub.name} does not have {len(lost):,} files that were "
            "pushed; the pinned commit is unchanged",
            facts=_some(lost),
            next_step="look for a .gitignore in that repository, then pytest-repro push "
            "--onto-newest",
        )


def write_pin(layout: Layout, pin: Pin) -> None:
    """Write ``hub.yaml``, unless it says so already.

    Raises:
        StoreError: It cannot be written.
    """
    if read_pin(layout) == pin:
        return
    # Quoted: YAML takes a commit of digits alone for a number.
    text = f'repository: "{pin.repository}"\ncommit: "{pin.commit}"\n'
    try:
        write_bytes(layout.pin_path, text.encode())
    except OSError as error:
        raise StoreError(
            "cannot write the pinned commit",
            facts=(str(error), f"commit {pin.commit}"),
            where=layout.shown(layout.pin_path),
            next_step="write that commit into the file",
        ) from error


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull fetched, and the tensors of values that the Hub lacks."""

    count: int
    size_bytes: int
    lost: tuple[str, ...]


def pull(store: Store, pin: Pin, files: NamedFiles, track: Track) -> Pulled:
    """Fetch the files that are not here; every one is verified before it is written.

    Asks the Hub for nothing if all are here. A second call fetches what a first one did not.

    Raises:
        HubError: Unreachable, no access, or a file came with other content than its name promises;
            the others have been fetched.
        StoreError: The folder cannot be written.
    """
    absent = sorted(name for name in files.verify if not is_there(store.folder / name))
    if not absent:
        return Pulled(0, 0, ())
    hub = Dataset(pin.repository)
    there = hub.sizes(pin.commit, absent)
    try:
        make_folder(store.folder / TENSORS)
        with folder_lock(store.folder / TENSORS):  # two runs at once fetch each file once
            sizes, wrong = _fetch_all(store, hub, pin.commit, files, sorted(there), track)
    except OSError as error:
        raise StoreError("cannot write a tensor", facts=(str(error),)) from error
    if wrong:
        raise HubError(
            f"{len(wrong):,} files of {pin.repository}@{pin.commit} have other content than their "
            f"names promise; {len(sizes):,} others were fetched",
            facts=_some(wrong),
            next_step="pytest-repro pull; if they are wrong again, push them again from the "
            "machine that recorded them",
        )
    return Pulled(
        len(sizes), sum(sizes), tuple(sorted(files.needed.intersection(absent) - there.keys()))
    )


def _fetch_all(
    store: Store, hub: Dataset, commit: str, files: NamedFiles, names: list[str], track: Track
) -> tuple[list[int], list[str]]:
    """The sizes of the files that were fetched, and the names of those with wrong content."""
    sizes, wrong = [], []
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        arriving = {name: pool.submit(_fetch, store, hub, commit, name, files) for name in names}
        for name in track(names, "fetched"):
            try:
                sizes.append(arriving[name].result())
            except CorruptBaseline:  # noqa: PERF203  the others are fetched
                wrong.append(name)
    finally:
        pool.shutdown(cancel_futures=True)
    return sizes, sorted(wrong)


def _fetch(store: Store, hub: Dataset, commit: str, name: str, files: NamedFiles) -> int:
    path = store.folder / name
    if is_file(path):
        return 0
    store.refuse_outside(path)
    cached = hub.get(commit, name)
    data = read_regular(cached)
    try:
        files.verify[name](data, name)
    except CorruptBaseline:
        forget(cached)
        raise
    make_folder(path.parent)
    write_bytes(path, data)
    return len(data)
