"""What a test asked for: the arguments of its marker or decorator, validated once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_repro.core.errors import SettingError
from pytest_repro.core.settings import (
    RngMode,
    Settings,
    TraceLevel,
    parse_choice,
    parse_count,
)
from pytest_repro.core.words import Distance

if TYPE_CHECKING:
    from pytest_repro.core.tolerance import Tolerance

__all__ = ["MARKER_ARGUMENTS", "TestSpec", "spec_from"]

MARKER_ARGUMENTS: Mapping[str, str] = {
    "seed": "seed of `repro_generator` and of the global generators",
    "runs": "how many runs must agree before anything is recorded or called drift",
    "tolerance": "tolerance of every check of the test that names none itself",
    "reference": "how far away a reference may be: own, release or any",
    "trace": "what is recorded of watched pipelines: off, steps or cells",
    "rng": "error, warn or off for unseeded randomness; off and warn need a reason",
    "reason": "why `rng` or `reuse` is relaxed",
    "reuse": "True lets one generator serve several pipeline calls; needs a reason",
    "dtype": "computing dtype whose ULP disturbs the noise: float64, float32, float16 or bfloat16",
    "name": "name of the check that the decorator makes of the returned value",
}


@dataclass(frozen=True, slots=True)
class TestSpec:
    """One test and what it asked for.

    Attributes:
        module: POSIX path of the test module, relative to the root folder.
        test: What follows the module in the node id.
        marked: Whether the marker or decorator stands on it, so that checking nothing is a fault.
    """

    __test__ = False

    module: str
    test: str
    seed: int
    runs: int
    tolerance: Tolerance | None
    reference: Distance
    trace: TraceLevel
    rng: RngMode
    reuse: bool
    computing_dtype: str
    marked: bool

    @property
    def place(self) -> str:
        return f"{self.module}::{self.test}"


def spec_from(
    module: str, test: str, arguments: Mapping[str, object], settings: Settings, *, marked: bool
) -> TestSpec:
    """The spec of a test from its marker's keyword arguments and the run's settings.

    Raises:
        SettingError: An argument is unknown, of the wrong type, or lacks its reason.
    """
    origin = f"{module}::{test}, @pytest.mark.repro"
    _refuse_unknown(arguments, origin)
    _require_reason(arguments, origin)
    tolerance = arguments.get("tolerance")
    return TestSpec(
        module=module,
        test=test,
        seed=parse_count(arguments.get("seed", settings.seed), origin=f"{origin} seed", least=0),
        runs=parse_count(arguments.get("runs", settings.runs), origin=f"{origin} runs", least=2),
        tolerance=None if tolerance is None else _tolerance(tolerance, origin),
        reference=parse_choice(
            Distance, arguments.get("reference", Distance.ANY), origin=f"{origin} reference"
        ),
        trace=parse_choice(
            TraceLevel, arguments.get("trace", settings.trace), origin=f"{origin} trace"
        ),
        rng=parse_choice(RngMode, arguments.get("rng", settings.rng), origin=f"{origin} rng"),
        reuse=bool(arguments.get("reuse", False)),
        computing_dtype=str(arguments.get("dtype", "float32")),
        marked=marked,
    )


def _tolerance(asked: object, origin: str) -> Tolerance:
    from pytest_repro.core.tolerance import tolerance_from

    return tolerance_from(asked, origin=f"{origin} tolerance")


def _refuse_unknown(arguments: Mapping[str, object], origin: str) -> None:
    for name in arguments:
        if name not in MARKER_ARGUMENTS:
            import difflib

            near = difflib.get_close_matches(name, MARKER_ARGUMENTS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise SettingError(
                f"{origin}: unknown argument {name!r}",
                facts=(f"{hint}allowed: {', '.join(MARKER_ARGUMENTS)}",),
            )
    dtype = arguments.get("dtype", "float32")
    if dtype not in ("float16", "bfloat16", "float32", "float64"):
        raise SettingError(
            f"{origin}: dtype {dtype!r} is not one of float16, bfloat16, float32, float64"
        )


def _require_reason(arguments: Mapping[str, object], origin: str) -> None:
    relaxed = arguments.get("rng", "error") != "error" or bool(arguments.get("reuse", False))
    if relaxed and not str(arguments.get("reason") or "").strip():
        raise SettingError(
            f"{origin}: a relaxed `rng` or `reuse` needs a reason",
            next_step='@pytest.mark.repro(rng="off", reason="...")',
        )
