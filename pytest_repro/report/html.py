"""The page of a run: one HTML file with all data in it, drawn when it is opened."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pytest_repro.errors import BaselineError
from pytest_repro.model.ids import Digest, TensorRecord
from pytest_repro.model.words import Gate, Verdict
from pytest_repro.report.pictures import TensorView, view_tensors

MAX_BYTES = 14_000_000
"""A page stays smaller than this, so it opens at once and can be mailed."""

_SIDES = ((1024, 3_000_000), (320, 4_500_000), (160, 5_500_000), (24, 7_000_000))
"""How large pictures are drawn until they cost so many bytes; the last are for the rows only."""
_PIXELS_A_BYTE = 4
"""So much pictures cost at least: flat ones take few bytes, but their time to draw."""
_DETAIL_BYTES = 5_500_000
_MAX_LEAVES = 8
_HEAVY = (
    "draws", "growth", "cells", "differences", "leaves", "began", "detail", "tolerance_origin",
    "passing_tolerance", "site", "baseline_site",
)  # fmt: skip
_UNSHOWN = ("value", "ledger")
_ORDER = {str(word): number for number, word in enumerate(
    (Verdict.CORRUPT, Verdict.NONDETERMINISTIC, Verdict.DRIFT, Verdict.MISSING, Verdict.WITHIN,
     Verdict.UPDATED, Verdict.RECORDED, Verdict.UNCHANGED, Verdict.EXACT)
)}  # fmt: skip
_FORBIDDEN = {ord(one): f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"}

Tensors = Callable[[Digest], TensorRecord | None]


def page_text(document: Mapping[str, Any], tensors: Tensors) -> str:
    """The page of a report; ``tensors`` finds a tensor of either side, or gives ``None``."""
    checks = sorted(document["checks"], key=_urgency)
    ledgers: list[list[str]] = []
    causes: list[list[str]] = []
    data = {
        "environments": document["environments"],
        "checks": list(_trimmed(checks, ledgers, causes)),
        "ledgers": ledgers,
        "causes": causes,
        "views": dict(_views(checks, tensors)),
    }
    counts = Counter(str(one["verdict"]) for one in checks)
    return (
        _templates()
        .get_template("index.html")
        .render(
            tool=document["tool"],
            made_at=document["made_at"],
            notes=document["notes"],
            idle=document["idle"],
            headline=_headline(counts),
            keys=sorted({str(one["key"]) for one in checks}),
            counts=[(word, counts[word]) for word in _ORDER if counts[word]],
            style=_raw("page.css"),
            script=_raw("page.js"),
            data=Markup(_embedded(data)),  # noqa: S704  escaped for a script element
        )
    )


def _headline(counts: Mapping[str, int]) -> str:
    """What a person reads first: ``30 of 200 checks drifted, 2 missing``."""
    total = sum(counts.values())
    words = [
        str(one)
        for one in (Verdict.DRIFT, Verdict.MISSING, Verdict.NONDETERMINISTIC, Verdict.CORRUPT)
    ]
    bad = [
        (counts[word], "drifted" if word == Verdict.DRIFT else word)
        for word in words
        if counts[word]
    ]
    checks = "check" if total == 1 else "checks"
    if not bad:
        return f"{total} {checks}, no drift"
    (count, word), *others = bad
    return ", ".join([f"{count} of {total} {checks} {word}", *(f"{n} {one}" for n, one in others)])


def _urgency(entry: Mapping[str, Any]) -> tuple[int, float, float, str]:
    share = float(entry.get("share", 0.0))
    # Under the own key every share is infinite, so the distance decides the order.
    # The value gate comes before any distance: another dtype or shape, NaN in other places.
    far = math.inf if entry.get("gate") == str(Gate.VALUE) else _far(entry)
    return _ORDER[entry["verdict"]], -share, -far, str(entry["check"])


def _far(entry: Mapping[str, Any]) -> float:
    """rel_l2 of the tensor that moved farthest; 0.0 if none was measured."""
    sizes = [float(one["rel_l2"]) for _, one in entry.get("differences", ())]
    return max((size for size in sizes if not math.isnan(size)), default=0.0)


def _trimmed(
    checks: Sequence[Mapping[str, Any]], ledgers: list[list[str]], causes: list[list[str]]
) -> Iterator[dict[str, Any]]:
    """The entries, the most urgent first; beyond the budget, details are only in report.json."""
    tables = {"draws": _Table(ledgers), "evidence": _Table(causes)}
    left = _DETAIL_BYTES
    for check in checks:
        entry = {name: one for name, one in check.items() if name not in _UNSHOWN}
        if far := _far(check):
            entry["rel_l2"] = far if math.isfinite(far) else str(far)
        for name, table in tables.items():
            if entry.get(name):
                entry[name], cost = table.number(entry[name])
                left -= cost
        if "differences" in entry:
            entry["differences"] = entry["differences"][:_MAX_LEAVES]
        left -= len(json.dumps(entry))
        if left < 0:
            entry = {name: one for name, one in entry.items() if name not in _HEAVY}
            entry["cut"] = True
        yield entry


class _Table:
    """Lists of lines, each held once."""

    def __init__(self, rows: list[list[str]]) -> None:
        self._rows = rows
        self._known: dict[str, int] = {}

    def number(self, lines: list[str]) -> tuple[int, int]:
        """The number of a list, and how many bytes it adds."""
        text = "\n".join(lines)
        if text in self._known:
            return self._known[text], 0
        self._known[text] = len(self._rows)
        self._rows.append(lines)
        return self._known[text], len(text)


def _views(
    checks: Sequence[Mapping[str, Any]], tensors: Tensors
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The pictures of the most urgent checks at full size, and the smaller the farther down."""
    spent, rungs = 0, iter(_SIDES)
    side, until = next(rungs)
    for check in checks:
        cost = 0
        while drawn := [asdict(one) for one in _drawn(check, tensors, side)]:
            if side == _SIDES[-1][0]:
                drawn = [_thumbnail(one) for one in drawn[:1] if one["pictures"]]
            cost = _cost(drawn)
            if spent + cost <= until:
                break
            side, until = next(rungs, (0, 0))
            if not side:
                return
        spent += cost
        if drawn:
            yield f"{check['key']} {check['check']}", drawn


def _cost(drawn: Sequence[Mapping[str, Any]]) -> int:
    pixels: int = sum(one["width"] * one["height"] for view in drawn for one in view["pictures"])
    return max(len(json.dumps(drawn)), pixels // _PIXELS_A_BYTE)


def _thumbnail(view: Mapping[str, Any]) -> dict[str, Any]:
    return {"pictures": view["pictures"][-1:], "planes": view["planes"], "only_row": True}


def _drawn(check: Mapping[str, Any], tensors: Tensors, side: int) -> Iterator[TensorView]:
    for leaf in check.get("leaves", ())[:_MAX_LEAVES]:
        if leaf["observed"] == leaf["baseline"]:
            continue
        try:
            before, now = (_array(leaf[side], tensors) for side in ("baseline", "observed"))
        except BaselineError as error:
            yield TensorView(leaf["path"], note=error.what)
            continue
        yield view_tensors(leaf["path"], before, now, side=side)


def _array(digest: str, tensors: Tensors) -> Any:
    record = tensors(Digest(digest)) if digest else None
    return None if record is None else record.array


def _embedded(data: object) -> str:
    """JSON that cannot end the script element around it, with any name of a test."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Lone surrogates of an undecodable name cannot be written as UTF-8.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text.translate(_FORBIDDEN)


def _templates() -> Environment:
    folder = Path(__file__).parent / "templates"
    return Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined)


def _raw(name: str) -> Markup:
    text = (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704  ours, not a test's
