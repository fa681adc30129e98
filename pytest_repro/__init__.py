"""Determinism regression tests for diffusion pipelines on MindSpore.

The surface is what `__all__` names, the fixtures and options of the plugin and the command
``pytest-repro``; everything else may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_repro.errors import CheckFailed, ReproError
    from pytest_repro.frameworks.mint import compose_mint
    from pytest_repro.plugin.decorator import repro

__all__ = ["CheckFailed", "ReproError", "compose_mint", "repro"]

_HOMES = {
    "CheckFailed": "pytest_repro.errors",
    "ReproError": "pytest_repro.errors",
    "compose_mint": "pytest_repro.frameworks.mint",
    "repro": "pytest_repro.plugin.decorator",
}


def __getattr__(name: str) -> Any:
    # Importing the package must cost nothing: pytest imports it for everybody who installed it.
    if name == "__version__":
        from importlib.metadata import version

        return version("pytest-repro")
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
