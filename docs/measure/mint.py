"""The errors of the compositions: ``python -m docs.measure.mint`` writes docs/evidence/mint.md."""

from __future__ import annotations

import math
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pytest_repro.frameworks.mint import Composition, compositions, interpolate, resolve, runs
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


_BICUBIC = """
## Bicubic interpolation

mindone 0.2.0 enlarges the picture of an image variation by `ops.interpolate`, 0.5.0 by `mint.nn.functional.interpolate`. These are two
operators: rel_l2 against Keys' kernel in float64, with constant `a`, and with pixels beyond the border `repeated` or `left out`
(weights scaled to 1). MindSpore documents the two differences between its kernel and PyTorch's (`api_mapping/pytorch_diff/ResizeBicubic`);
the original pipeline asks PyTorch for `antialias=True`, which follows Pillow: -0.5, left out. So `ops` computes on a CPU what the
original asks for, and mindone 0.5.0 computes the other. Neither composition nor kernel is at fault.

| from | to | operator | -0.75, repeated | -0.75, left out | -0.5, repeated | -0.5, left out |
| --- | --- | --- | --- | --- | --- | --- |
"""


def cubic(x: Any, place: float, a: float, *, repeats: bool) -> float:
    """Keys' interpolation of a row at one place, in float64."""
    total = weight = 0.0
    for k in range(math.floor(place) - 1, math.floor(place) + 3):
        far = abs(place - k)
        near, outer = (
            (a + 2) * far**3 - (a + 3) * far**2 + 1,
            a * (far**3 - 5 * far**2 + 8 * far - 4),
        )
        share = near if far <= 1 else outer
        if repeats or 0 <= k < len(x):
            total += share * float(x[min(max(k, 0), len(x) - 1)])
            weight += share
    return total / weight


def resized(x: Any, after: int, a: float, *, repeats: bool) -> Any:
    """``x`` with its last two axes enlarged to ``after``."""
    for axis in (-2, -1):
        places = [(i + 0.5) * x.shape[axis] / after - 0.5 for i in range(after)]
        rows = [np.apply_along_axis(cubic, axis, x, at, a, repeats=repeats) for at in places]
        x = np.stack(rows, axis)
    return x


def bicubic_rows() -> list[str]:
    """How far each operator is from each of four definitions, for two sizes."""
    import mindspore as ms

    compositions()
    named = {"`ops`": ms.ops.interpolate, "composition": interpolate}
    lines = []
    for before, after in ((16, 32), (16, 64)):
        x = np.random.Generator(np.random.PCG64(0)).standard_normal((1, 3, before, before))
        x = x.astype(np.float32)
        for name, operator in named.items():
            tensor = ms.Tensor(x)
            found = operator(tensor, size=[after, after], mode="bicubic", align_corners=False)
            far = [
                np.linalg.norm(found.asnumpy() - wanted) / np.linalg.norm(wanted)
                for a in (-0.75, -0.5)
                for repeats in (True, False)
                for wanted in [resized(x.astype(np.float64), after, a, repeats=repeats)]
            ]
            shown = " | ".join(f"{one:.1e}" for one in far)
            lines.append(f"| {before} | {after} | {name} | {shown} |")
    return lines


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
    text = _HEAD + "\n".join(lines) + "\n" + _BICUBIC + "\n".join(bicubic_rows()) + "\n"
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
