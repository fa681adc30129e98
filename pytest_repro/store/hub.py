"""The Hugging Face Hub: weights of one pinned commit, and the files of a dataset repository.

The only module that knows huggingface_hub, from 0.25 to the newest.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pytest_repro.errors import HubConflict, HubError, WeightsError

# The files that a pipeline is loaded from; no pickle.
_PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model")
_UNREACHABLE = frozenset({"LocalEntryNotFoundError", "OfflineModeIsEnabled"})
_MOST_CAUSES = 20
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


def explain_unreachable(error: BaseException, *, where: str = "") -> WeightsError | None:
    """The sentence for an error that began with a Hub that cannot be reached; ``None`` for others.

    The client's own class is looked for among the causes: what pipelines raise from it is a page.
    """
    seen: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if seen is None:
            return None
        kind = type(seen)
        if kind.__name__ in _UNREACHABLE and kind.__module__.startswith("huggingface_hub"):
            first_line = (str(seen).strip().splitlines() or [""])[0]
            return WeightsError(
                "the test needs a file of the Hub, which cannot be reached",
                facts=(f"{kind.__name__}: {first_line[:200]}",),
                where=where,
                next_step="check the network (HF_ENDPOINT, HF_HUB_OFFLINE), load a folder, or use "
                "the fixtures repro_ddim and repro_unclip, whose weights need no network",
            )
        seen = seen.__cause__ or seen.__context__
    return None


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


_KIND = "dataset"
_BRANCH = "main"
_PATHS_A_REQUEST = 500
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FORBIDDEN, _CONFLICT = 403, 412
_ONLINE = "check the network (HF_ENDPOINT, HF_HUB_OFFLINE) and HF_TOKEN, then run again"


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit that was made: its 40 digits, and the pull request it is in, or ``""``."""

    commit: str
    pull_request: str


class Dataset:
    """A dataset repository; the token is that of ``HF_TOKEN``, and no error shows it.

    Args:
        name: ``owner/name``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        # A token that a login has stored is not used: a run depends on what it is given.
        self._token: str | bool = os.environ.get("HF_TOKEN") or False

    def head(self) -> str:
        """The newest commit of the branch main.

        Raises:
            HubError: Unreachable, no such repository, or no access.
        """
        from huggingface_hub import HfApi

        with self._naming(f"cannot read {self.name} on the Hub"):
            found = HfApi(token=self._token).repo_info(self.name, repo_type=_KIND, revision=_BRANCH)
        return self._commit(found.sha)

    def sizes(self, commit: str, paths: Sequence[str]) -> dict[str, int]:
        """The sizes of those ``paths`` that the commit has.

        Raises:
            HubError: Unreachable, no such repository or commit, or no access.
        """
        from huggingface_hub import HfApi

        api, found = HfApi(token=self._token), {}
        for begin in range(0, len(paths), _PATHS_A_REQUEST):
            asked = list(paths[begin : begin + _PATHS_A_REQUEST])
            with self._naming(f"cannot list {self.name}@{commit} on the Hub"):
                listed = api.get_paths_info(self.name, asked, revision=commit, repo_type=_KIND)
            found.update({one.path: one.size for one in listed if hasattr(one, "size")})
        return found

    def add(self, parent: str, files: Mapping[str, Path], message: str) -> Committed:
        """Upload files, and make one commit of them on top of ``parent``.

        Makes a pull request where the token may not write.

        Raises:
            HubConflict: ``parent`` is not the newest commit.
            HubError: Unreachable, an upload failed, or no access. No commit was made.
        """
        try:
            return self._add(parent, files, message, as_request=False)
        except HubError as error:
            if _status(error.__cause__) != _FORBIDDEN:
                raise
        return self._add(parent, files, message, as_request=True)

    def _add(
        self, parent: str, files: Mapping[str, Path], message: str, *, as_request: bool
    ) -> Committed:
        from huggingface_hub import CommitOperationAdd, HfApi

        with self._naming(f"cannot add {len(files):,} files to {self.name} on the Hub"):
            made = HfApi(token=self._token).create_commit(
                self.name,
                [CommitOperationAdd(name, str(path)) for name, path in files.items()],
                commit_message=message,
                repo_type=_KIND,
                parent_commit=parent,
                create_pr=as_request,
            )
        return Committed(self._commit(made.oid), made.pr_url or "")

    def get(self, commit: str, path: str) -> Path:
        """A file of a commit in the Hub's cache, downloaded if it is not there.

        A download that was cut off goes on where it ended.

        Raises:
            HubError: Unreachable, no such file, or it did not arrive.
        """
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()  # one for each of a thousand files
        with self._naming(f"cannot get {path} of {self.name}@{commit} from the Hub"):
            found = hf_hub_download(
                self.name, path, revision=commit, repo_type=_KIND, token=self._token
            )
        return Path(found)

    def _commit(self, text: object) -> str:
        if isinstance(text, str) and _COMMIT.fullmatch(text):
            return text
        raise HubError(f"{self.name}: the Hub names no commit of 40 digits", facts=(repr(text),))

    @contextmanager
    def _naming(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  of two transports, requests and httpx
            self._refuse(what, error)

    def _refuse(self, what: str, error: Exception) -> NoReturn:
        first_line = (str(error).strip().splitlines() or [""])[0][:200]
        if isinstance(self._token, str):
            first_line = first_line.replace(self._token, "***")
        kind = HubConflict if _status(error) == _CONFLICT else HubError
        raise kind(
            what, facts=(f"{type(error).__name__}: {first_line}",), next_step=_ONLINE
        ) from error


def forget(cached: Path) -> None:
    """Remove a file from the Hub's cache, so that the next `Dataset.get` asks the Hub again.

    Raises:
        OSError: It cannot be removed.
    """
    content = cached.resolve()
    cached.unlink(missing_ok=True)
    content.unlink(missing_ok=True)


def _status(error: BaseException | None) -> int:
    """The status of the answer of the Hub that an error carries, or 0."""
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)
