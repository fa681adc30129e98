"""Opens the session of a run: what is seen of this machine, which baselines and policy count."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_repro.checking.session import Session
from pytest_repro.frameworks.mindspore import MindSporeAdapter
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.settings import Framework, Settings, UpdateMode
from pytest_repro.store.store import Store

if TYPE_CHECKING:
    from pytest_repro.model.artefact import Candidate
    from pytest_repro.model.baseline import Environment
    from pytest_repro.tolerance.policy import Policy

__all__ = ["open_session"]


def open_session(
    settings: Settings,
    *,
    root: Path,
    extra_facts: Sequence[Mapping[str, str]] = (),
    wants: Callable[[Candidate], bool] = lambda candidate: True,
    isolated: bool = False,
) -> Session:
    """The session of a run on this machine: observe the environment, open store and policy.

    Raises:
        ReproError: The facts, the folder or the policy are wrong.
    """
    folder = root / settings.baselines
    store, policy = Store(folder, root=root), folder / "policy.yaml"
    mindspore = MindSporeAdapter()
    has_mindspore = settings.framework is not Framework.NUMPY and mindspore.installed()
    if has_mindspore:
        # Before the first kernel, and before the facts are read: the switch is one of them.
        mindspore.enable_determinism()
    extra = _merged(extra_facts)
    observe = _observer(settings, root, extra, mindspore)
    # They wait where nothing that a test does can change them.
    may_wait = settings.update is UpdateMode.NONE and not extra
    if has_mindspore or settings.framework is Framework.MINDSPORE or not may_wait:
        environment = observe()
        key, observe = environment.key, lambda: environment
    else:
        key = _numpy_key()
    return Session(
        settings,
        root=root,
        key=key,
        observe=observe,
        store=store,
        policy=_policy_of(policy, store),
        mindspore=mindspore,
        wants=wants,
        isolated=isolated,
    )


def _observer(
    settings: Settings, root: Path, extra: Mapping[str, str], mindspore: MindSporeAdapter
) -> Callable[[], Environment]:
    """What sees every fact, now or later, with the environment variables of now."""
    variables = dict(os.environ)

    def observe() -> Environment:
        from pytest_repro.environment.observe import observe_environment

        return observe_environment(
            framework=str(settings.framework),
            root=root,
            extra=extra,
            mindspore=mindspore,
            variables=variables,
        )

    return observe


def _numpy_key() -> EnvironmentKey:
    from pytest_repro.environment.cpu import numpy_key

    return numpy_key(os.environ)


def _policy_of(path: Path, store: Store) -> Policy | None:
    if not os.path.lexists(path) and not os.path.lexists(path.with_suffix(".yml")):
        return None
    from pytest_repro.store.policy_file import load_policy

    return load_policy(path, shown=store.shown(path))


def _merged(extra: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {name: value for facts in extra for name, value in facts.items()}
