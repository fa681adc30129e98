"""The command ``pytest-repro``: words in, text and an exit code out."""

from pytest_repro.cli.main import main

__all__ = ["main"]
