"""What the families of pipelines share: finding, writing, caching and loading their folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_repro.errors import WeightsError
from pytest_repro.frameworks.framework import package_version
from pytest_repro.pipelines.source import SourceKind, WeightsSource, check_weight_files
from pytest_repro.pipelines.weights import CONDITIONING, RECIPE, condition, seeded_parameters
from pytest_repro.tensors.record import digest_text

_SIZES = "sizes.txt"


def cache_folder() -> Path:
    """``PYTEST_REPRO_CACHE``, else ``pytest-repro`` in the user's cache folder.

    Source: XDG Base Directory Specification 0.8 for ``XDG_CACHE_HOME`` and its default.
    """
    chosen = os.environ.get("PYTEST_REPRO_CACHE", "")
    if chosen:
        return Path(chosen).expanduser()
    cache_home = os.environ.get("XDG_CACHE_HOME", "")
    # The specification says to ignore relative paths.
    home = Path(cache_home) if Path(cache_home).is_absolute() else Path.home() / ".cache"
    return home / "pytest-repro"


def cached_folder(name: str, write: Callable[[Path], None]) -> Path:
    """The folder ``name`` of the cache; ``write`` fills it if it does not exist.

    ``name`` must change whenever the result of ``write`` changes. Each process that finds no folder
    writes its own and renames it; the first wins, so the folder is always complete.

    Raises:
        WeightsError: The cache cannot be written, or the size of a file in it changed.
    """
    parent = cache_folder() / "weights"
    folder = parent / name
    try:
        if not folder.is_dir():
            parent.mkdir(parents=True, exist_ok=True)
            _make(folder, write)
    except OSError as error:
        raise WeightsError(
            f"cannot write the seeded weights: {error.strerror or error}.",
            where=str(folder),
            next_step="set PYTEST_REPRO_CACHE to a folder that can be written",
        ) from error
    _check_sizes(folder)
    return folder


def _make(folder: Path, write: Callable[[Path], None]) -> None:
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write(draft)
        _write_sizes(draft)
        draft.chmod(0o755)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(draft)


def _write_sizes(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        # Sync the data before the rename: a crash must not leave a folder of empty files.
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
    lines = [f"{path.stat().st_size} {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / _SIZES).write_text("".join(lines), encoding="utf-8")


def _check_sizes(folder: Path) -> None:
    try:
        lines = (folder / _SIZES).read_text(encoding="utf-8").splitlines()
        pairs = [line.split(" ", 1) for line in lines]
        wrong = [name for size, name in pairs if (folder / name).stat().st_size != int(size)]
    except (OSError, ValueError) as error:
        raise _damaged(folder, str(error)) from error
    if wrong:
        raise _damaged(folder, f"changed since it was written: {', '.join(wrong)}")


def _damaged(folder: Path, fact: str) -> WeightsError:
    return WeightsError(
        "the cache of seeded weights is damaged.",
        facts=(fact,),
        where=str(folder),
        next_step=f"rm -r '{folder}' (it is made again on the next run)",
    )


_DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of pipeline, and where it comes from.

    Attributes:
        name: Folder name, e.g. ``unclip-image-variation``.
        class_name: Class in ``mindone.diffusers``.
        components: Components that its ``model_index.json`` must list.
        repository: Repository on the Hub.
        revision: Pinned commit there; ``""`` if none is known.
        seed_prefix: First part of the seeded parameters' names.
        recipe: Text that changes whenever the architecture changes.
        build: Makes the pipeline with the framework's initial weights.
        conditioned: Components that are noise predictors.
        repair: Changes a loaded pipeline that a release of mindone cannot run.
    """

    name: str
    class_name: str
    components: tuple[str, ...]
    repository: str
    revision: str
    seed_prefix: str
    recipe: str
    build: Callable[[], Any]
    conditioned: tuple[str, ...]
    repair: Callable[[Any], None] = lambda pipeline: None


def load_family(family: Family, source: WeightsSource, dtype: str) -> Any:
    """The family's pipeline from ``source``, without output, by mindone's ``from_pretrained``.

    Raises:
        WeightsError: The weights cannot be loaded, are pickled, or do not fit; or mindone is
            missing.
    """
    if dtype not in _DTYPES:
        raise WeightsError(
            f"cannot load {family.name} as {dtype!r}.", next_step=f"choose {', '.join(_DTYPES)}"
        )
    with _numpy_state_kept():
        folder = source_folder(family, source)
        check_weight_files(folder, family.components)
        return _open(family, folder, dtype)


@contextmanager
def _numpy_state_kept() -> Iterator[None]:
    """Restore numpy's global state, which MindSpore uses to initialise parameters."""
    state = np.random.get_state()  # noqa: NPY002  the legacy state
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def source_folder(family: Family, source: WeightsSource) -> Path:
    """The folder of the family's pipeline, made or downloaded if the source says so.

    Raises:
        WeightsError: The weights cannot be loaded or are pickled.
    """
    if source.kind is SourceKind.SEEDED:
        recipe = digest_text(f"{RECIPE}\n{CONDITIONING}\n{family.recipe}")
        # What save_pretrained writes depends on the release.
        name = f"{family.name}-{recipe[:16]}-mindone_{package_version('mindone')}"
        return cached_folder(name, lambda path: _write(family, path))
    if source.kind is SourceKind.HUB:
        return _from_hub(family, source)
    assert source.folder is not None
    named = source.folder / family.name
    return named if named.is_dir() else source.folder


def _from_hub(family: Family, source: WeightsSource) -> Path:
    revision = source.pinned(family.repository, family.revision)
    if not revision:
        raise WeightsError(
            f"no revision of {family.repository} is pinned.",
            next_step=f"--repro-weights=hub@{family.repository}=<commit of 40 hex digits>",
        )
    from pytest_repro.store.hub import fetch_snapshot

    return fetch_snapshot(family.repository, revision)


def _open(family: Family, folder: Path, dtype: str) -> Any:
    mindspore, cls = _mindone_class(family)
    try:
        with _loading_bar_off():
            pipeline = cls.from_pretrained(
                str(folder),
                mindspore_dtype=getattr(mindspore, dtype),
                use_safetensors=True,
                # mindone loads a pipeline without a text encoder only where it is told so.
                **dict.fromkeys(_absent_components(folder)),
            )
    except Exception as error:
        # mindone, transformers and safetensors raise many types for a wrong folder.
        raise WeightsError(
            f"mindone cannot load {family.class_name}.",
            facts=(f"{type(error).__name__}: {str(error).strip()[:300]}",),
            where=str(folder),
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    family.repair(pipeline)
    return pipeline


@contextmanager
def _loading_bar_off() -> Iterator[None]:
    """Hide mindone's progress bar over the components."""
    from mindone.diffusers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _mindone_class(family: Family) -> tuple[Any, Any]:
    try:
        import mindspore
        from mindone import diffusers
    except ImportError as error:
        raise WeightsError(
            f"{family.class_name} needs mindspore and mindone: {error}.",
            next_step="pip install 'pytest-repro[mindone]'",
        ) from error
    return mindspore, getattr(diffusers, family.class_name)


def _write(family: Family, folder: Path) -> None:
    pipeline = family.build()
    pipeline.save_pretrained(str(folder))
    _save_skipped(pipeline, folder)
    for name in _component_names(folder):
        # Replace the framework's random weights with seeded ones.
        for path in sorted((folder / name).glob("*.safetensors")):
            _write_weights(family, name, getattr(pipeline, name), path)
    check_weight_files(folder, family.components)


def _save_skipped(pipeline: Any, folder: Path) -> None:
    """Save image processors of transformers, which mindone 0.3.0 and later leave out."""
    index = _index(folder)
    for name in _absent_components(folder):
        part = getattr(pipeline, name, None)
        if part is not None:
            part.save_pretrained(str(folder / name))
            index[name] = [type(part).__module__.split(".")[0], type(part).__name__]
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _index(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "model_index.json").read_text(encoding="utf-8")))


def _component_names(folder: Path) -> tuple[str, ...]:
    return tuple(name for name in sorted(_index(folder)) if not name.startswith("_"))


def _absent_components(folder: Path) -> tuple[str, ...]:
    return tuple(name for name, value in _index(folder).items() if value == [None, None])


def _write_weights(family: Family, name: str, cell: Any, path: Path) -> None:
    from safetensors.numpy import save_file

    weights = seeded_parameters(f"{family.seed_prefix}.{name}", _shapes(cell))
    if name in family.conditioned:
        condition(weights)
    save_file(weights, path, metadata={"format": "pt"})


def _shapes(cell: Any) -> Mapping[str, tuple[int, ...]]:
    """Shapes by Hugging Face's names, which mindone's `from_pretrained` maps back."""
    from mindspore import nn

    renamed: dict[str, str] = {}
    for prefix, part in cell.cells_and_names():
        if isinstance(part, nn.Embedding):
            renamed[f"{prefix}.embedding_table"] = f"{prefix}.weight"
        elif isinstance(part, (nn.LayerNorm, nn.GroupNorm)):
            renamed[f"{prefix}.gamma"] = f"{prefix}.weight"
            renamed[f"{prefix}.beta"] = f"{prefix}.bias"
    return {
        renamed.get(p.name, p.name): tuple(int(n) for n in p.shape) for p in cell.get_parameters()
    }
