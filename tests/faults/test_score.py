"""The benchmark on a made-up set of runs: what it counts, and how its table looks."""

from __future__ import annotations

import platform
import re
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fault_runs, fault_score
from benchmarks.fault_baselines import recorded_run, stored_drifts
from benchmarks.fault_counting import CleanRun, Place, count_alarms
from benchmarks.fault_rules import Rule, make_reference, rule_on
from benchmarks.fault_runs import RUNS, Kept, disturbed_runs, kept_in, load_kept, save_kept
from pytest_repro.model.words import Distance
from pytest_repro.tolerance.measured import FEWEST_RUNS, MOST_RUNS
from tests.faults.catalogue import FAULTS

_ULP = 2.0**-24
_RUN = next(run for run in RUNS if run.name == "ddim-2")
_VISIBLE = "weights-layer-scaled"
_HIDDEN = "weights-one-ulp"
_CORNERLESS = "output-gamma"
_NOISE = "noise-seed"
_NOTHING = "scheduler-clip-off"
_MINI = (_VISIBLE, _HIDDEN, _CORNERLESS, _NOISE, _NOTHING)


def _signs(seed, shape):
    return np.where(np.random.Generator(np.random.PCG64(seed)).random(shape) < 0.5, -1.0, 1.0)


def _kept(seed=0, moved=0.0, noise="a", **arrays):
    """A run whose numbers are ``moved`` by so much at random signs."""
    generator = np.random.Generator(np.random.PCG64(7))
    made = {
        "image": generator.uniform(0.2, 0.8, (1, 8, 8, 3)),
        "sample": generator.uniform(-1.0, 1.0, (1, 3, 8, 8)),
        "prediction": generator.standard_normal((1, 3, 8, 8)),
    }
    made |= arrays
    moves = {name: array + moved * _signs(seed, array.shape) for name, array in made.items()}
    return Kept({name: array.astype(np.float32) for name, array in moves.items()}, noise, 6e-8)


def _disturbed(count=FEWEST_RUNS):
    return [_kept(seed=10 + at, moved=8 * _ULP) for at in range(count)]


def _elsewhere():
    image = _kept().arrays["image"].copy()
    image[0, :4, :4] += 1e-3
    return _kept(image=image)


@pytest.fixture
def reference():
    return make_reference(_kept(), _disturbed())


@pytest.mark.parametrize(
    ("observed", "caught"),
    [
        (_kept(), set()),
        (_kept(seed=3, moved=4 * _ULP), {Rule.OWN, Rule.NUMPY}),
        (_elsewhere(), {Rule.OWN, Rule.FALLBACK, Rule.NUMPY}),
        (_kept(noise="b"), {Rule.OWN, Rule.FALLBACK}),
        (_kept(image=np.full((1, 8, 8, 3), 0.9)), set(Rule)),
    ],
    ids=["same", "rounding", "far from the corner", "noise", "another image"],
)
def test_each_rule_catches_what_it_sees_and_nothing_else(reference, observed, caught):
    assert {rule for rule in Rule if rule_on(rule, reference, observed).caught} == caught


def test_only_the_last_latents_show_what_the_image_hides(reference):
    prediction = _kept().arrays["prediction"] * np.float32(1.01)
    observed = _kept(prediction=prediction)
    ruling = rule_on(Rule.FALLBACK, reference, observed)
    assert ruling.caught
    assert ruling.where.startswith("prediction ")
    assert not rule_on(Rule.NUMPY, reference, observed).caught


def test_an_envelope_above_the_ceiling_is_refused_and_counts_as_neither():
    wild = make_reference(_kept(), [_kept(seed=at, moved=0.1) for at in range(2)])
    ruling = rule_on(Rule.FALLBACK, wild, _elsewhere())
    assert ruling.refused
    assert not ruling.caught


def test_a_run_reads_back_as_it_was_kept(tmp_path):
    path = kept_in(tmp_path, "ddim-2", "clean")
    save_kept(path, _kept(noise="b"))
    found = load_kept(path)
    assert (found.noise, found.input_rel_l2) == ("b", 6e-8)
    assert all(np.array_equal(found.arrays[name], _kept().arrays[name]) for name in found.arrays)
    assert [one.name for one in path.parent.iterdir()] == ["clean.npz"]


@pytest.mark.parametrize(("sizes", "runs"), [([8], FEWEST_RUNS), ([8, 1], MOST_RUNS)])
def test_as_many_runs_are_disturbed_as_a_recording_disturbs(tmp_path, monkeypatch, sizes, runs):
    """Four that move it alike are enough; else more, also where an earlier process stopped."""
    monkeypatch.setattr(fault_runs, "load_pipeline", lambda run: None)
    made = []

    def execute(run, pipeline, book):
        made.append(book.source.seed)
        return _kept(seed=len(made), moved=sizes[len(made) % len(sizes)] * _ULP)

    monkeypatch.setattr(fault_runs, "_execute", execute)
    save_kept(kept_in(tmp_path, _RUN.name, "clean"), _kept())
    fault_runs._work(tmp_path, _RUN, ("disturbed",), ())
    assert len(disturbed_runs(tmp_path, _RUN.name)) == len(set(made)) == runs
    kept_in(tmp_path, _RUN.name, f"disturbed-{runs - 1}").unlink()
    fault_runs._work(tmp_path, _RUN, ("disturbed",), ())
    assert len(made) == runs + 1
    assert made[-1] == made[-2]


def test_alarms_are_counted_apart_for_releases_and_for_other_hardware():
    places = [Place("2.10.0", "avx2", 1), Place("2.8.0", "avx2", 1), Place("2.10.0", "avx", 1)]
    clean = [CleanRun(one, _kept(seed=at, moved=4 * _ULP)) for at, one in enumerate(places)]
    references = {one.place: make_reference(one.kept, _disturbed()) for one in clean}
    release, far = count_alarms(Rule.NUMPY, clean, references)
    assert (release.distance, release.pairs, release.alarms) == (Distance.RELEASE, 2, 2)
    assert (far.distance, far.pairs, far.alarms) == (Distance.ANY, 4, 4)
    assert [one.alarms for one in count_alarms(Rule.FALLBACK, clean, references)] == [0, 0]


@pytest.fixture
def work(tmp_path):
    """Two SIMD levels, one of which sees five faults of a run."""
    try:
        folder = tmp_path / f"mindspore-{version('mindspore')}"
    except PackageNotFoundError:
        pytest.skip("the script asks the interpreter for its MindSpore")
    for simd, moved in (("sse41-1c", 4 * _ULP), ("avx2-1c", 0.0)):
        clean = _kept(seed=2, moved=moved)
        kept = {"clean": clean, "again": clean}
        kept |= {f"disturbed-{at}": one for at, one in enumerate(_disturbed())}
        if simd == "avx2-1c":
            image = _kept().arrays["image"]
            kept |= {
                "after": clean,
                f"fault-{_VISIBLE}": _kept(seed=5, moved=0.1),
                f"fault-{_HIDDEN}": _kept(seed=6, moved=2 * _ULP),
                f"fault-{_CORNERLESS}": _elsewhere(),
                f"fault-{_NOISE}": _kept(image=image[:, ::-1], noise="b"),
                f"fault-{_NOTHING}": clean,
            }
        for what, one in kept.items():
            save_kept(kept_in(folder / simd, _RUN.name, what), one)
    return tmp_path


def _page(work, *more):
    output = work / "score.md"
    arguments = ["--work", str(work), "--runs", _RUN.name, "--simd", "SSE41,AVX2", "--cores", "1"]
    arguments += [f"--fault={name}" for name in _MINI]
    arguments += ["--baselines", str(work / "none"), "--output", str(output), "--table-only"]
    fault_score.main([*arguments, *more])
    return output.read_text(encoding="utf-8")


def test_the_script_counts_a_mini_set_as_one_would_by_hand(work):
    lines = _page(work).splitlines()
    caught = {
        line.split(" | ")[0].removeprefix("| "): line.split(" | ")[2:]
        for line in lines
        if re.search(r"\d of \d+ \(\d+ %\)", line)
    }
    by_words = {words.split(":")[0]: cells for words, cells in caught.items()}
    assert by_words["ours, `own`"] == ["4 of 4 (100 %)", "0 of 2 (0) |"]
    assert by_words["ours, fallback"] == ["3 of 4 (75 %)", "0 of 2 (2) |"]
    assert by_words["Hugging Face"] == ["2 of 4 (50 %)", "0 of 2 (2) |"]
    numpy = next(cells for words, cells in caught.items() if "assert_allclose" in words)
    assert numpy == ["4 of 4 (100 %)", "2 of 2 (2) |"]


def test_a_miss_comes_with_its_measured_reason_and_a_no_op_is_named(work):
    text = _page(work)
    assert "## What the fallback misses: 1 of 4, and why" in text
    assert re.search(rf"- {_HIDDEN}, ddim-2: the fault itself moves \w+ \S+ by [\d.]+ envel", text)
    assert f"- {_NOTHING}, ddim-2: bitwise the clean run's." in text


def test_the_table_has_a_row_for_every_fault_and_as_many_cells_as_columns(work):
    rows = [line for line in _page(work).splitlines() if line.startswith("|")]
    detailed = [row for row in rows if any(f"| {name} |" in row for name in _MINI)]
    assert len(detailed) == len(_MINI)
    header = next(row for row in rows if row.startswith("| fault |"))
    assert {row.count("|") for row in detailed} == {header.count("|")}


def test_a_fault_that_was_not_taken_back_stops_the_count(work):
    path = next(work.glob("mindspore-*/avx2-1c"))
    save_kept(kept_in(path, _RUN.name, "after"), _kept(seed=9, moved=_ULP))
    with pytest.raises(SystemExit, match="not taken back"):
        _page(work)


_BASELINES = Path(__file__).resolve().parents[2] / "baselines"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="baselines are recorded on x86_64")
def test_a_recorded_baseline_stands_for_a_clean_run_where_there_is_one():
    found = recorded_run(_BASELINES, Place("2.10.0", "avx2", 2), _RUN)
    assert found is not None
    assert found.baseline is not None
    assert found.kept.arrays["image"].shape == (1, 32, 32, 3)
    assert all(one.envelope is not None for one in found.baseline.summaries)
    assert not rule_on(Rule.OWN, found.baseline, found.kept).caught
    assert recorded_run(_BASELINES, Place("2.10.0", "avx9", 2), _RUN) is None


def test_drift_of_recorded_checks_is_paired_by_simd_level_alone():
    drifts = stored_drifts(_BASELINES)
    assert {"test_two_steps::image", "test_text_to_image::latents"} <= {
        drift.check.entry for drift in drifts
    }
    # Ordered pairs of levels of one release, core count and cache size.
    levels = Counter(
        (cores, cache, framework.name)
        for hardware in _BASELINES.glob("cpu-*")
        for framework in hardware.iterdir()
        for _, _, _, cores, cache in [hardware.name.split("-")]
    )
    assert max(drift.pairs for drift in drifts) == sum(n * (n - 1) for n in levels.values())
    assert stored_drifts(_BASELINES / "tensors") == ()


def test_the_mini_set_is_made_of_listed_faults():
    assert set(_MINI) <= {fault.name for fault in FAULTS}
