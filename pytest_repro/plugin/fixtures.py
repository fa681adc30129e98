"""The fixtures."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from pytest_repro.errors import UsageError
from pytest_repro.pipelines.registry import FAMILIES, Row
from pytest_repro.plugin.equipment import Check
from pytest_repro.plugin.state import session_of, state_of

if TYPE_CHECKING:
    from pytest_repro.model.baseline import Environment
    from pytest_repro.noise.generator import LoggedGenerator
    from pytest_repro.plugin.active import ActiveTest


FIXTURES = frozenset(
    {
        "repro_check",
        "repro_disturb",
        "repro_generator",
        "repro_generators",
        "repro_watch",
        *(f"repro_{row.name}" for row in FAMILIES),
    }
)
GENERATORS = frozenset({"repro_generator", "repro_generators"})


def _active(request: pytest.FixtureRequest) -> ActiveTest:
    item = request.node
    active = state_of(request.config).active_of(item)
    if active is None:
        raise UsageError(
            f"{item.nodeid}: a repro fixture was requested while the test was running",
            next_step="mark the test with @pytest.mark.repro, or name the fixture as an argument",
        )
    return active


@pytest.fixture
def repro_check(request: pytest.FixtureRequest) -> Check:
    """The assertion; ``repro_check.batch(images, alone, name)`` checks a batch by its images."""
    return Check(_active(request), request.node)


@pytest.fixture
def repro_disturb(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Returns a tensor that no generator drew; a recording perturbs it to measure the envelope."""
    return _active(request).trial.disturb


@pytest.fixture
def repro_generator(request: pytest.FixtureRequest) -> LoggedGenerator:
    """A fresh ``numpy.random.Generator`` on ``PCG64(seed)`` that keeps a log of its draws."""
    return _active(request).trial.generator()


@pytest.fixture
def repro_generators(request: pytest.FixtureRequest) -> Callable[..., list[LoggedGenerator]]:
    """``repro_generators(4)``: one generator for each image, seeded ``seed, seed + 1, ...``."""
    return _active(request).trial.generators


def _pipeline_fixture(row: Row) -> Any:
    def pipeline(request: pytest.FixtureRequest) -> Any:
        return _active(request).pipeline(row.name)

    pipeline.__doc__ = row.what
    return pytest.fixture(name=f"repro_{row.name}")(pipeline)


PIPELINES = {f"repro_{row.name}": _pipeline_fixture(row) for row in FAMILIES}
"""One fixture for each family, by name; the plugin adds them to pytest's fixtures."""


@pytest.fixture(scope="session")
def repro_environment(request: pytest.FixtureRequest) -> Environment:
    """Every fact about this machine, and its key."""
    return session_of(request.config).context.environment


@pytest.fixture
def repro_watch(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """``repro_watch(pipeline)``: record its weights and each denoising step; returns it."""
    return _active(request).trial.watch
