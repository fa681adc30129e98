"""Planted faults of the noise: each is caught and named in the message, the clean twin is quiet."""

from __future__ import annotations

import pytest

CLEAN = """
    @pytest.mark.repro(seed=0)
    def test_pipeline(repro_generator, repro_check):
        generator = repro_generator
        latents = generator.standard_normal((1, 3, 4))
        scale = generator.random(2)
        step = generator.standard_normal((1, 3, 4))
        repro_check((latents * scale[0] + step).astype("float32"), name="image")
"""
LEDGER = [
    (
        "an extra draw",
        "scale = generator.random(2)",
        "generator.random(5); scale = generator.random(2)",
        "one draw more after draw 1",
    ),
    (
        "an extra draw at the end",
        "repro_check(",
        "generator.random(); repro_check(",
        "one draw more after draw 3",
    ),
    (
        "a missing draw",
        "scale = generator.random(2)",
        "scale = [0.5, 0.5]",
        "one draw fewer after draw 1",
    ),
    (
        "swapped draws",
        "latents = generator.standard_normal((1, 3, 4))\n        scale = generator.random(2)",
        "scale = generator.random(2)\n        latents = generator.standard_normal((1, 3, 4))",
        "draws 1 and 2 swapped places",
    ),
    (
        "another shape",
        "step = generator.standard_normal((1, 3, 4))",
        "step = generator.standard_normal((2, 3, 4))[:1]",
        "draw 3 of 3: standard_normal (1, 3, 4) became (2, 3, 4)",
    ),
    ("another seed", "seed=0", "seed=1", "seed 0 became 1"),
    (
        "float32 instead of float64",
        "latents = generator.standard_normal((1, 3, 4))",
        "latents = generator.standard_normal((1, 3, 4), dtype=np.float32)",
        "draw 1 of 3: standard_normal (1, 3, 4) float64 became float32",
    ),
    (
        "another method",
        "scale = generator.random(2)",
        "scale = generator.uniform(size=2)",
        "draw 2 of 3: random (2,) became uniform (2,)",
    ),
    (
        "other arguments",
        "latents = generator.standard_normal((1, 3, 4))",
        "latents = generator.normal(0.0, 2.0, (1, 3, 4))",
        "draw 1 of 3: standard_normal (1, 3, 4) became normal (1, 3, 4)",
    ),
    (
        "another bit generator",
        "generator = repro_generator",
        "generator = type(repro_generator)(np.random.MT19937(0), repro_generator.book)",
        "MT19937",
    ),
    (
        "a seeded generator of its own",
        "generator = repro_generator",
        "generator = np.random.Generator(np.random.MT19937(0))",
        "3 draws fewer before draw 1",
    ),
    (
        "a stream moved by hand",
        "generator = repro_generator",
        "generator = repro_generator; generator.bit_generator.advance(1)",
        "the bit generator was also moved without a draw before draw 1",
    ),
]
GUARDED = [
    (
        "an unseeded generator",
        "generator = repro_generator",
        "generator = np.random.default_rng()",
        ("without a seed", "pass generator=repro_generator"),
    ),
    (
        "an unseeded bit generator",
        "generator = repro_generator",
        "generator = np.random.Generator(np.random.PCG64())",
        ("without a seed", "pass generator=repro_generator"),
    ),
    (
        "numpy's legacy global state",
        "step = generator.standard_normal((1, 3, 4))",
        "step = np.random.randn(1, 3, 4)",
        ("np.random.randn", "numpy's global state"),
    ),
    (
        "the module random",
        "step = generator.standard_normal((1, 3, 4))",
        "step = random.random()",
        ("random.random", "random's global state"),
    ),
]


def test_the_clean_pipeline_reports_nothing(project):
    project.write(CLEAN)
    project.record()
    ran = project.run()
    assert ran.exit_code == 0
    assert ran.closing == ["1 check: 1 exact"]
    assert ran.failures == {}


@pytest.mark.parametrize(
    ("clean", "planted", "named"), [row[1:] for row in LEDGER], ids=[row[0] for row in LEDGER]
)
def test_a_changed_draw_is_named(project, clean, planted, named):
    project.write(CLEAN)
    project.record()
    assert CLEAN.count(clean) == 1
    project.write(CLEAN.replace(clean, planted))
    ran = project.run()
    assert ran.verdicts == {"test_pipeline::image": "drift"}
    assert "gate inputs, cause noise" in ran.failure
    assert named in ran.failure.splitlines()[3], ran.failure
    project.write(CLEAN)
    assert project.run().exit_code == 0


@pytest.mark.parametrize(
    ("clean", "planted", "named"), [row[1:] for row in GUARDED], ids=[row[0] for row in GUARDED]
)
def test_randomness_without_a_seed_is_stopped_at_its_line(project, clean, planted, named):
    project.write(CLEAN)
    project.record()
    before = project.files()
    source = CLEAN.replace(clean, planted)
    project.write(source)
    text = (project.folder / "test_story.py").read_text(encoding="utf-8")
    line = text[: text.index(planted)].count("\n") + 1
    for arguments in ((), ("--repro-update",)):
        ran = project.run(*arguments)
        assert ran.exit_code == 1
        assert f"test_story.py:{line}" in ran.failure
        assert "random_patches.py" not in ran.failure  # no frame of ours explains it
        for words in named:
            assert words in ran.failure
        assert project.files() == before


def test_a_swallowed_stop_fails_all_the_same(project):
    project.write(
        CLEAN.replace(
            "generator = repro_generator",
            """generator = repro_generator
        try:
            np.random.randn(3)
        except Exception:
            pass""",
        )
    )
    ran = project.run("--repro-update")
    assert ran.exit_code == 1
    assert "np.random.randn" in ran.failure
    assert project.files() == {}


def test_a_relaxed_guard_needs_a_reason_and_lets_pass(project):
    legacy = CLEAN.replace("step = generator", "np.random.randn(3); step = generator")
    project.write(legacy.replace("seed=0", 'seed=0, rng="off"'))
    ran = project.run("--repro-update")
    assert ran.exit_code == 1
    assert "needs a reason" in ran.failure
    assert "hidden" not in ran.failure
    project.write(legacy.replace("seed=0", 'seed=0, rng="off", reason="only a progress bar"'))
    project.record()
    project.write(legacy)
    assert "np.random.randn" in project.run().failure
    assert project.run("-p", "no:warnings").exit_code == 1
    assert project.run("--repro-rng=off").exit_code == 0


IN_A_FIXTURE = """
    @pytest.fixture(scope="{scope}")
    def latents():
        return {draw}

    @pytest.mark.repro{arguments}
    def test_pipeline(latents, repro_check):
        repro_check(latents, name="image")
"""


@pytest.mark.parametrize("scope", ["function", "module"])
def test_a_fixture_without_a_seed_is_stopped_at_its_line(project, scope):
    # Of a wide one the repeated run sees nothing: it is made once a process.
    unseeded = "np.random.default_rng().standard_normal(3)"
    project.write(IN_A_FIXTURE.format(scope=scope, draw=unseeded, arguments=""))
    for arguments in ((), ("--repro-update",)):
        ran = project.run(*arguments)
        assert ran.exit_code == 1
        assert "a numpy generator was made without a seed" in ran.failure
        assert "where  test_story.py:8" in ran.failure
        assert "running.py" not in ran.failure
        assert project.files() == {}
    reason = '(rng="off", reason="one draw a process is wanted")'
    project.write(IN_A_FIXTURE.format(scope="module", draw=unseeded, arguments=reason))
    project.record()
    for seeded in ("np.random.default_rng(0).standard_normal(3)", "np.random.randn(3)"):
        project.write(IN_A_FIXTURE.format(scope=scope, draw=seeded, arguments=""))
        project.record("--repro-update=all")
        assert project.run().closing == ["1 check: 1 exact"]


def test_mindspores_global_generator_is_stopped(project):
    pytest.importorskip("mindspore")
    project.write("""
        import mindspore as ms

        @pytest.mark.repro
        def test_pipeline(repro_check):
            repro_check(ms.ops.standard_normal((2, 2)).asnumpy(), name="image")
    """)
    ran = project.run_apart("--repro-update")
    assert ran.exit_code == 1
    assert "standard_normal" in ran.text
    assert "test_story.py:10" in ran.text
    assert project.files() == {}


ONE_IN_TWO = """
    import pathlib

    COUNT = pathlib.Path(__file__).with_name("count")

    def wavering():
        # A counter outside the process: every other run of the body sees another value.
        count = int(COUNT.read_text()) if COUNT.exists() else {start}
        COUNT.write_text(str(count + 1))
        return count % 2

    @pytest.mark.repro
    def test_wavering(repro_generator, repro_check):
        noise = repro_generator.standard_normal((2, 3)).astype("float32")
        {body}
        repro_check(noise, name="image")
"""


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (
            "noise[1, 2] += wavering()",
            "same noise but gave different numbers: 1 of 6 elements, most at (1, 2)",
        ),
        ("repro_generator.random(1 + wavering())", "drew different noise: draw 2 of 2: random"),
        ("noise = noise[: 1 + wavering()]", "float32 ("),
        ("assert wavering() == 0", "raised"),
    ],
    ids=["element", "draw", "shape", "error"],
)
def test_a_test_that_differs_one_time_in_two_is_never_recorded(project, body, where):
    for attempt in range(20):
        (project.folder / "count").unlink(missing_ok=True)
        project.write(ONE_IN_TWO.format(start=attempt, body=body))
        ran = project.run("--repro-update")
        assert ran.exit_code == 1
        assert project.files() == {}
        if body.startswith("assert") and attempt % 2:
            continue  # the first run itself fails: an ordinary failure
        assert ran.verdicts == {"test_wavering::image": "nondeterministic"}
        assert where in ran.failure
        if attempt == 2:
            break_even = ran
    assert "drift" not in break_even.failure


def test_a_test_that_differs_one_time_in_two_is_never_called_drift(project):
    project.write(ONE_IN_TWO.format(start=0, body="pass"))
    project.record()
    seen = set()
    for attempt in range(4):
        (project.folder / "count").unlink(missing_ok=True)
        project.write(ONE_IN_TWO.format(start=attempt, body="noise[0, 0] += wavering()"))
        ran = project.run()
        seen |= set(ran.verdicts.values())
    assert seen == {"exact", "nondeterministic"}


def test_a_real_drift_is_called_drift_only_after_a_second_run(project):
    project.write(CLEAN)
    project.record()
    changed = CLEAN.replace("+ step", "- step") + "        print('ran')\n"
    project.write(changed)
    ran = project.run("-s", "--repro-runs=3")
    assert ran.verdicts == {"test_pipeline::image": "drift"}
    assert ran.text.count("ran\n") == 3
