"""The Hugging Face Hub: one pinned commit as a complete local folder, or one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_repro.errors import WeightsError

# The files that a pipeline is loaded from; no pickle.
_PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model")
_PICKLE_SUFFIXES = (".bin", ".ckpt", ".pkl", ".pt", ".pth")


def fetch_snapshot(repository: str, revision: str) -> Path:
    """The folder with the files of one commit (40 hex digits) of the repository ``owner/name``.

    Downloads configurations and safetensors that are not in the cache, and compares their sizes
    with those that the Hub lists. A repository with only pickled weights is refused before its
    first file. If the Hub cannot be reached, a complete earlier download is used.

    Raises:
        WeightsError: Unreachable, unknown repository or commit, pickled weights, a file that is
            missing, cut off or of the wrong size.
    """
    where = f"{repository}@{revision}"
    sizes = _listed_sizes(repository, revision)
    if sizes is not None:
        _refuse_pickle(sizes, where)
    folder = _download(repository, revision, offline=sizes is None)
    for name, size in sorted((sizes or {}).items()):
        _check_file(folder / name, size, where)
    return folder


def _listed_sizes(repository: str, revision: str) -> dict[str, int | None] | None:
    """The size of every file by name; ``None`` if the Hub cannot be reached."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
    except OfflineModeIsEnabled:
        return None
    except (HfHubHTTPError, ValueError) as error:
        raise _fault(repository, revision, error) from error
    except Exception as error:
        if _is_unreachable(error):
            return None
        raise _fault(repository, revision, error) from error
    return {sibling.rfilename: sibling.size for sibling in info.siblings or ()}


def _is_unreachable(error: Exception) -> bool:
    """Whether the error means that the Hub cannot be reached.

    The classes of requests and httpx are known by name: huggingface_hub 1 changed its transport,
    and importing both would add dependencies.
    """
    names = {base.__name__ for base in type(error).__mro__}
    return not names.isdisjoint(
        {"ConnectionError", "Timeout", "NetworkError", "TimeoutException", "ConnectError"}
    )


def _refuse_pickle(sizes: dict[str, int | None], where: str) -> None:
    pickled = sorted(name for name in sizes if name.endswith(_PICKLE_SUFFIXES))
    if pickled and not any(name.endswith(".safetensors") for name in sizes):
        raise WeightsError(
            f"{where} has only pickled weights; only safetensors are loaded.",
            facts=tuple(f"found {name}" for name in pickled[:5]),
            next_step="pin a commit that has safetensors: --repro-weights=hub@<commit>",
        )


def _download(repository: str, revision: str, *, offline: bool) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            repository,
            revision=revision,
            allow_patterns=list(_PATTERNS),
            local_files_only=offline,
        )
    except Exception as error:
        raise _fault(repository, revision, error) from error
    return Path(folder)


def _check_file(path: Path, size: int | None, where: str) -> None:
    if not path.match("*.json") and not path.match("*.safetensors"):
        return
    if not path.is_file():
        raise WeightsError(f"{where} lists {path.name}, but it did not arrive.", where=str(path))
    found = path.stat().st_size
    if size is not None and found != size:
        raise WeightsError(
            f"{path.name} of {where} has the wrong size.",
            facts=(f"listed {size} bytes, found {found} bytes",),
            where=str(path),
            next_step="remove that file and run again",
        )
    if path.suffix == ".json":
        _check_json(path, where)


def _check_json(path: Path, where: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(
            f"{path.name} of {where} is not JSON: {error}.", where=str(path)
        ) from error


def _fault(repository: str, revision: str, error: Exception) -> WeightsError:
    first_line = (str(error).strip().splitlines() or [""])[0]
    return WeightsError(
        f"cannot get {repository}@{revision} from the Hub.",
        facts=(f"{type(error).__name__}: {first_line[:200]}",),
        next_step="check the network (HF_ENDPOINT, HF_HUB_OFFLINE), or use --repro-weights=seeded",
    )
