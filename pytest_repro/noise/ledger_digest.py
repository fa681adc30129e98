"""The digest of a ledger of draws, taken in draw by draw."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_repro.model.ids import Digest, Ledger
from pytest_repro.tensors.digest import digest_text

if TYPE_CHECKING:
    from pytest_repro.model.baseline import Draw

__all__ = ["EMPTY_LEDGER", "LedgerHasher", "make_ledger"]


class LedgerHasher:
    """SHA-256 over the canonical text of a ledger, draw by draw.

    What is hashed (through `digest_text`): a line ``generator <text>`` a generator, then a line
    with the SHA-256 of all draws, each the line of its fields joined by tabs. Taking the digest
    costs the same after the first draw and after the ten thousandth.
    """

    def __init__(self) -> None:
        self._draws = hashlib.sha256()

    def add(self, draw: Draw) -> None:
        """Take in the next draw."""
        shape = ",".join(str(length) for length in draw.shape)
        line = (str(draw.generator), draw.method, shape, draw.dtype, draw.arguments, draw.digest)
        # repr keeps a tab or a line end inside a text from imitating the next field.
        self._draws.update(("\t".join(map(repr, line)) + "\n").encode("utf-8", "surrogatepass"))

    def digest(self, generators: Sequence[str]) -> Digest:
        """The digest of these generators and all draws so far."""
        lines = [f"generator {text!r}\n" for text in generators]
        return digest_text(f"ledger 1\n{''.join(lines)}draws {self._draws.hexdigest()}\n")


def make_ledger(generators: Sequence[str], draws: Sequence[Draw]) -> Ledger:
    """The ledger of these generators and draws, with its digest.

    Equal to what a `NoiseBook` gives for the same draws, so a stored ledger can be verified.
    """
    hasher = LedgerHasher()
    for draw in draws:
        hasher.add(draw)
    return Ledger(tuple(generators), tuple(draws), hasher.digest(generators))


EMPTY_LEDGER = make_ledger((), ())
"""Of a test that asked for no generator."""
