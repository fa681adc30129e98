"""The errors of the compositions: ``python -m docs.measure.mint`` writes docs/evidence/mint.md."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

from pytest_repro.frameworks.mint import Composition, compositions, resolve, runs
from tests.frameworks.mint_cases import CASES, measure

PAGE = Path(__file__).parents[1] / "evidence" / "mint.md"

_HEAD = """\
# mint on a CPU

`repro_mint_cpu = on` replaces each `mindspore.mint` operator without a CPU kernel by other operators. Written by
`python -m docs.measure.mint`: the largest error of each against numpy in float64, in ULP of float32 at the size of the number or of
the root mean square of all, whichever is larger. `native`: the error of MindSpore's own operator; - where it has no kernel here.
MindSpore's `softmax` kernel is wrong by 18 ULP on the inputs of flash_attention; that is most of its error. `randn` draws from MindSpore's
global generator and is not compared.

"""


def errors(one: Composition) -> tuple[float, float | None]:
    """The largest error of a composition, and of the native operator where it runs."""
    owner, attribute, replacement = one.sites[0]
    native = getattr(resolve(owner), attribute)
    cases = CASES[one.name]
    composed = max(measure(case, replacement) for case in cases)
    return composed, max(measure(case, native) for case in cases) if runs(one.probe) else None


def main() -> None:
    """Measure and write the page."""
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "not set")
    lines = [
        f"*mindspore {version('mindspore')}, `ONEDNN_MAX_CPU_ISA` {isa}.*\n",
        "| operator | cases | composition | native |",
        "| --- | --- | --- | --- |",
    ]
    for one in sorted(compositions(), key=lambda each: each.name):
        if one.name in CASES:
            composed, native = errors(one)
            shown = "-" if native is None else f"{native:.2g}"
            lines.append(f"| `{one.name}` | {len(CASES[one.name])} | {composed:.2g} | {shown} |")
    PAGE.write_text(_HEAD + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
