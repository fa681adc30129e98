"""Envelopes: of each step of a watched pipeline, and what is said where there is none."""

from __future__ import annotations

import re

import pytest

from tests.stories.test_fallback import hardware

# Watching asks MindSpore what a cell is; a nested run forgets what it was the first to import.
pytest.importorskip("mindspore")

LOOP = """
    class Scheduler:
        def step(self, model_output, timestep, sample):
            return (sample - np.float32(0.1) * model_output,)

    class Loop:
        def __init__(self):
            self.scheduler = Scheduler()

        def __call__(self, sample):
            for at in range(4):
                output = np.tanh(np.float32(1.5) * sample)
                if {rounds}:
                    up = np.where(np.indices(sample.shape).sum(0) % 2, 9, -9).astype("float32")
                    output = np.nextafter(output, up)
                if at == {faulty_step}:
                    output = output * np.float32(1.001)
                sample = self.scheduler.step(output, 900 - at, sample)[0]
            return sample

    @pytest.mark.repro
    def test_image(repro_watch, repro_generator, repro_check):
        loop = repro_watch(Loop())
        noise = repro_generator.standard_normal((16, 16)).astype("float32")
        repro_check(loop(noise), name="image")
"""
RAISES = """
    @pytest.mark.repro
    def test_image(repro_generator, repro_check):
        noise = repro_generator.standard_normal((8, 8)).astype("float32")
        {before}
        repro_check(noise * np.float32({factor}), name="image")
        {after}
"""


def write_loop(project, *, rounds=False, faulty_step=-1):
    project.write(LOOP.format(rounds=rounds, faulty_step=faulty_step))


@pytest.fixture
def recorded(project):
    """A loop recorded on other hardware."""
    write_loop(project)
    project.record()
    project.rename_hardware(hardware(project, 77))
    return project


def test_rounding_on_other_hardware_is_within(recorded):
    assert "step_envelope: " in recorded.manifest.read_text(encoding="utf-8")
    write_loop(recorded, rounds=True)
    assert recorded.run().verdicts == {"test_image::image": "within"}


@pytest.mark.parametrize("step", [0, 2, 3])
def test_a_fault_on_other_hardware_is_named_at_its_step(recorded, step):
    write_loop(recorded, rounds=True, faulty_step=step)
    ran = recorded.run()
    assert ran.verdicts == {"test_image::image": "drift"}
    assert f"first step outside its envelope: scheduler step {step} " in ran.failure
    assert "what differs: the model's output; the sample agrees" in ran.failure
    assert re.search(r"; [0-9,]+ times its envelope, \d.\de-0[78]", ran.failure)
    if step < 3:
        assert "difference of the results vs their envelope: " in ran.failure


def test_without_the_envelope_of_steps_a_fallback_is_judged_as_before(recorded):
    text = recorded.manifest.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines(keepends=True) if "step_envelope: " not in line]
    recorded.manifest.write_text("".join(lines), encoding="utf-8")
    write_loop(recorded, rounds=True)
    assert recorded.run().verdicts == {"test_image::image": "within"}
    write_loop(recorded, rounds=True, faulty_step=2)
    ran = recorded.run()
    assert ran.verdicts == {"test_image::image": "drift"}
    assert "agree within the envelope" in ran.failure


def test_an_exact_check_reads_no_records(project):
    write_loop(project)
    project.record()
    for path in project.baselines.glob("records/*/*"):
        path.write_bytes(b"not a record")
    assert project.run().verdicts == {"test_image::image": "exact"}


def test_what_a_disturbed_run_raised_is_recorded_and_said(project):
    (project.folder / "runs").touch()
    project.write(RAISES.format(before=_keeping("first.npy"), after="", factor=1))
    ran = project.record()
    assert ran.verdicts == {"test_image::image": "recorded"}
    said = "disturbed run 1 raised ValueError: not my noise"
    assert ran.closing[1:] == [
        "recorded without an envelope: test_story.py::test_image::image",
        f"  because {said}",
    ]
    assert (project.folder / "runs").read_text() == "123"  # recorded, repeated, disturbed once
    assert f"no_envelope: '{said}'" in project.manifest.read_text(encoding="utf-8")
    assert project.run().closing == ["1 check: 1 exact"]
    project.rename_hardware(hardware(project, 77))
    project.write(RAISES.format(before="", after="", factor=1.01))
    assert f"no envelope recorded ({said})" in project.run().failure


def test_what_is_raised_after_the_check_leaves_its_envelope(project):
    (project.folder / "runs").touch()
    project.write(RAISES.format(before="", after=_keeping("first.npy"), factor=1))
    ran = project.record()
    assert ran.closing == ["1 check: 1 recorded"]
    assert (project.folder / "runs").read_text() == "123456"
    assert "rel_l2_max" in project.manifest.read_text(encoding="utf-8")


COUNTED = """
    import itertools
    SIZES = itertools.cycle({sizes})

    @pytest.mark.repro
    def test_image(repro_generator, repro_check):
        noise = repro_generator.standard_normal((8, 8)).astype("float32")
        open("runs", "a").write("x")
        moved = noise[0, 0] != np.random.Generator(np.random.PCG64(0)).standard_normal(
            (8, 8)).astype("float32")[0, 0]
        size = next(SIZES) if moved else 0
        repro_check(np.ones(64, "float32") + np.float32(size), name="image")
"""


@pytest.mark.parametrize(
    ("options", "sizes", "runs"),
    [
        ([], "[1e-6]", 4),
        ([], "[1e-6, 2e-6]", 16),
        (["--repro-envelope=1"], "[1e-6]", 4),
        (["--repro-envelope=1"], "[1e-6, 2e-6]", 16),
        (["--repro-envelope=6"], "[1e-6]", 6),
        (["--repro-envelope=18"], "[1e-6, 2e-6]", 18),
        ([], "[0.5, 0.1]", 4),  # no fallback is judged by so wide an envelope
        (["--repro-envelope=0"], "[1e-6, 2e-6]", 0),
    ],
)
def test_the_noise_is_disturbed_until_the_runs_say_enough(project, options, sizes, runs):
    project.write(COUNTED.format(sizes=sizes))
    assert project.record(*options).verdicts == {"test_image::image": "recorded"}
    assert len((project.folder / "runs").read_text()) == 2 + runs  # recorded and repeated
    text = project.manifest.read_text(encoding="utf-8")
    assert re.findall(r", runs: (\d+), seed", text) == ([str(runs)] if runs else [])


def test_a_ceiling_of_the_policy_decides_whether_more_runs_matter(project):
    project.policy("""\
        schema: 1
        rules:
          - check: "*"
            ceiling: 1.0
            factor: 1
            reason: "planted"
    """)
    project.write(COUNTED.format(sizes="[0.5, 0.1]"))
    project.record()
    assert len((project.folder / "runs").read_text()) == 2 + 16


def _keeping(name):
    """Raise where the noise is not that of the first run."""
    return (
        "open('runs', 'a').write(str(len(open('runs').read()) + 1))\n        "
        f"import os; os.path.exists({name!r}) or np.save({name!r}, noise)\n"
        f"        if not np.array_equal(np.load({name!r}), noise): "
        "raise ValueError('not my noise')"
    )


@pytest.mark.parametrize(
    ("option", "source", "reason"),
    [
        ("--repro-envelope=0", "repro_generator.random(4)", "--repro-envelope=0 asked for no"),
        ("--repro-envelope=2", "np.ones(4)", "the test draws no noise from repro_generator"),
        (
            "--repro-envelope=2",
            "np.ones(3 + int(repro_generator.random() != 0.6369616873214543))",
            "disturbed run 1 gave another value: float64 (3,) became float64 (4,)",
        ),
    ],
)
def test_a_recording_without_an_envelope_says_why(project, option, source, reason):
    project.write(
        f"""
        @pytest.mark.repro
        def test_image(repro_generator, repro_check):
            repro_check({source}, name="image")
        """
    )
    assert reason in "\n".join(project.record(option).closing)


def test_another_seed_disturbs_otherwise_and_leaves_every_verdict(project):
    # A sum of the draws: of their signs alone each would move as far as with any other seed.
    project.write(RAISES.format(before="noise = noise.cumsum()", after="", factor=3))
    project.record()
    texts = {"20260": project.manifest.read_text(encoding="utf-8")}
    for seed in ("100", "200"):
        project.record("--repro-update=all", f"--repro-envelope-seed={seed}")
        texts[seed] = project.manifest.read_text(encoding="utf-8")
        assert f"seed: {seed}," in texts[seed]
        assert project.run().verdicts == {"test_image::image": "exact"}
    assert len({re.search(r"mean_abs_max: (\S+),", text)[1] for text in texts.values()}) == 3


NAMED = """
    @pytest.mark.repro
    def test_image(repro_disturb, repro_check):
        values = {name}(np.linspace(0.5, 2, 64, dtype="float32").reshape(8, 8))
        repro_check({value}, name="image")
"""
ALTERNATELY = "np.where(np.indices((8, 8)).sum(0) % 2, 9, -9).astype('float32')"


def test_a_named_tensor_gives_a_test_without_generators_its_envelope(project):
    project.write(NAMED.format(name="repro_disturb", value="values * np.float32(1)"))
    assert project.record().closing == ["1 check: 1 recorded"]
    text = project.manifest.read_text(encoding="utf-8")
    assert "method: 'every tensor named to repro_disturb moved by one float32 ULP" in text
    (size,) = map(float, re.findall(r"input_rel_l2: ([^,}]+)", text))
    (moved,) = map(float, re.findall(r"rel_l2_max: ([^,}]+)", text))
    assert 2.0**-25 < size < 2.0**-22
    assert size == pytest.approx(moved, rel=0.1)  # the test multiplies by one
    assert project.run().verdicts == {"test_image::image": "exact"}
    project.rename_hardware(hardware(project, 77))
    project.write(NAMED.format(name="", value=f"np.nextafter(values, {ALTERNATELY})"))
    assert project.run().verdicts == {"test_image::image": "within"}
    project.write(NAMED.format(name="", value="values * np.float32(1.0001)"))
    ran = project.run()
    assert ran.verdicts == {"test_image::image": "drift"}
    assert "measured envelope x 4" in ran.failure


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_named_tensor_of_mindspore_stays_one(project, dtype):
    project.write(f"""
        import mindspore as ms

        @pytest.mark.repro(dtype="{dtype}")
        def test_image(repro_disturb, repro_check):
            clean = ms.Tensor(np.linspace(0.5, 2, 64, dtype="float32")).astype(ms.{dtype})
            given = repro_disturb(clean)
            assert isinstance(given, ms.Tensor) and given.dtype == ms.{dtype}
            repro_check(given, name="image")
    """)
    assert project.record().closing == ["1 check: 1 recorded"]
    (size,) = re.findall(r"ulp_max: ([^,}]+)", project.manifest.read_text(encoding="utf-8"))
    assert float(size) == 1.0


def test_a_tensor_of_no_floats_cannot_be_disturbed(project):
    source = NAMED.format(name="repro_disturb", value="values").replace("float32", "int64")
    project.write(source)
    assert "repro_disturb: int64 has no unit in the last place" in project.run().failure


@pytest.mark.parametrize("value", ["[1.0, 2.0]", "'text'", "None", "{}"])
def test_what_is_no_tensor_cannot_be_disturbed(project, value):
    project.write(f"""
        def test_image(repro_disturb, repro_check):
            repro_check(repro_disturb({value}), name="image")
    """)
    assert "repro_disturb takes an array or a tensor, not a value of type" in project.run().failure
