"""The arguments of a test's marker or decorator, validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_repro.errors import SettingError
from pytest_repro.model.words import Distance, RngMode, TraceLevel
from pytest_repro.settings import AUTO, Settings, parse_choice, parse_count, parse_envelope
from pytest_repro.tolerance.bounds import Tolerance, tolerance_from

MARKER_ARGUMENTS: Mapping[str, str] = {
    "seed": "seed of `repro_generator` and of the global generators",
    "runs": "how many runs must agree before anything is recorded or called drift",
    "envelope": "how many runs with perturbed noise measure the tolerance: auto, a number, or 0",
    "tolerance": "tolerance of every check of the test without its own",
    "reference": "how far away a reference may be: own, variant, release or any",
    "trace": "what is recorded of watched pipelines: off, steps or cells",
    "rng": "error, warn or off for unseeded randomness; off and warn need a reason",
    "reason": "why `rng` or `reuse` is relaxed",
    "reuse": "True lets one generator serve several pipeline calls; needs a reason",
    "dtype": "computing dtype whose ULP perturbs the noise: float64, float32, float16 or bfloat16; "
    "by default that of the watched weights, or else of the checked value",
    "name": "name of the check of the returned value, for the decorator",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The arguments of a test's marker and the settings; the same for many tests."""

    seed: int
    runs: int
    envelope: int
    adopts_envelope: bool
    tolerance: Tolerance | None
    reference: Distance
    trace: TraceLevel
    rng: RngMode
    reuse: bool
    computing_dtype: str  # "" for the default


@dataclass(frozen=True, slots=True)
class TestSpec:
    """One test and its arguments.

    Attributes:
        module: POSIX path of the test module, relative to the root folder.
        test: The rest of the node id after the module.
        asked: Its arguments.
        marked: Whether it has the marker or decorator, so checking nothing is a fault.
        suite: Whether the ini key ``repro_suite`` covers it: its pipeline calls are checked.
    """

    __test__ = False

    module: str
    test: str
    asked: Asked
    marked: bool
    suite: bool = False

    @property
    def place(self) -> str:
        return f"{self.module}::{self.test}"


def make_spec(
    place: tuple[str, str],
    arguments: Mapping[str, object],
    settings: Settings,
    *,
    marked: bool,
    suite: bool = False,
) -> TestSpec:
    """The spec of a test from its module, its id there, and its marker's keyword arguments.

    ``settings`` count where the marker says nothing.

    Raises:
        SettingError: An argument is unknown, of the wrong type, or without its reason.
    """
    asked = _asked(arguments, settings, f"{'::'.join(place)}, @pytest.mark.repro")
    return TestSpec(*place, asked, marked, suite)


def _asked(arguments: Mapping[str, object], settings: Settings, origin: str) -> Asked:
    _refuse_unknown(arguments, origin)
    _require_reason(arguments, origin)
    tolerance = arguments.get("tolerance")
    envelope = arguments.get("envelope")
    return Asked(
        seed=parse_count(arguments.get("seed", settings.seed), origin=f"{origin} seed", least=0),
        runs=parse_count(arguments.get("runs", settings.runs), origin=f"{origin} runs", least=2),
        envelope=settings.envelope
        if envelope is None
        else parse_envelope(envelope, origin=f"{origin} envelope"),
        adopts_envelope=settings.adopts_envelope if envelope is None else envelope == AUTO,
        tolerance=None if tolerance is None else _tolerance(tolerance, origin),
        reference=parse_choice(
            Distance, arguments.get("reference", Distance.ANY), origin=f"{origin} reference"
        ),
        trace=parse_choice(
            TraceLevel, arguments.get("trace", settings.trace), origin=f"{origin} trace"
        ),
        rng=parse_choice(RngMode, arguments.get("rng", settings.rng), origin=f"{origin} rng"),
        reuse=bool(arguments.get("reuse", False)),
        computing_dtype=str(arguments.get("dtype", "")),
    )


def _tolerance(asked: object, origin: str) -> Tolerance:
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
    if "name" in arguments:
        raise SettingError(
            f"{origin}: `name` belongs to the decorator pytest_repro.repro",
            facts=("a marked test gives the name to repro_check",),
            next_step="repro_check(value, name=...)",
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
