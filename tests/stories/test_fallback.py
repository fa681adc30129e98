"""Comparing with another environment's baseline: nearest first, named, counted, never silent."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import pytest

from pytest_repro.environment import host

SOURCE = """
    @pytest.mark.repro{marker}
    def test_image(repro_generator, repro_check):
        noise = repro_generator.standard_normal((8, 8)).astype("float32")
        repro_check({value}, name="image"{call})
"""
# One ULP at alternating signs, as rounding does; the same factor everywhere would be a regression.
SLIGHTLY = "np.nextafter(noise, np.where(np.indices((8, 8)).sum(0) % 2, 9, -9).astype('float32'))"
CLEARLY = "noise * np.float32(1.001)"


def write(project, value="noise * np.float32(1)", marker="", call=""):
    project.write(SOURCE.format(value=value, marker=marker, call=call))


def hardware(project, cores):
    """This machine's key with another number of cores."""
    return re.sub(r"-\d+c-", f"-{cores}c-", project.manifest.parent.parent.name)


def record_elsewhere(project, cores=77, **source):
    """Record, and make it the baseline of a machine with other cores; returns that key."""
    write(project, **source)
    project.record()
    return project.rename_hardware(hardware(project, cores))


def test_a_slight_difference_on_other_hardware_is_within_named_and_counted(project):
    key = record_elsewhere(project)
    write(project, SLIGHTLY)
    ran = project.run()
    assert ran.exit_code == 0, ran.text
    assert ran.verdicts == {"test_image::image": "within"}
    assert ran.closing[:2] == [
        "1 check: 1 within",
        f"1 check passed, compared with {key} (reference: any)",
    ]


def test_a_clear_difference_on_other_hardware_is_drift_by_the_environment(project):
    key = record_elsewhere(project)
    write(project, CLEARLY)
    ran = project.run()
    assert ran.verdicts == {"test_image::image": "drift"}
    assert f"any: {key}" in ran.failure
    assert "cause environment" in ran.failure
    assert "measured envelope x 4" in ran.failure


def test_the_same_small_factor_everywhere_is_drift_by_its_sums(project):
    record_elsewhere(project)
    write(project, "noise * np.float32(1 + 2e-7)")
    ran = project.run()
    assert ran.verdicts == {"test_image::image": "drift"}
    assert "of 1.0 (abs_sum)" in ran.failure


def test_equal_bits_on_other_hardware_are_exact_and_still_counted(project):
    key = record_elsewhere(project)
    write(project)
    ran = project.run()
    assert ran.verdicts == {"test_image::image": "exact"}
    assert f"1 check passed, compared with {key} (reference: any)" in ran.closing


def test_another_release_of_the_framework_is_nearer_than_other_hardware(project):
    record_elsewhere(project)
    write(project, CLEARLY)
    project.record()
    (own,) = (path for path in project.baselines.glob("cpu-*/numpy-*") if "-77c" not in str(path))
    newer = own.with_name("numpy-99.0.0")
    own.rename(newer)
    (manifest,) = newer.glob("*.yaml")
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace(f"/{own.name}\n", f"/{newer.name}\n", 1), encoding="utf-8")
    ran = project.run()
    assert ran.verdicts == {"test_image::image": "exact"}
    assert f"compared with {newer.parent.name}/{newer.name} (reference: release)" in ran.closing[1]


@pytest.mark.parametrize("where", ["option", "ini", "marker", "call", "policy"])
def test_reference_own_makes_a_fallback_missing(project, where):
    key = record_elsewhere(project)
    write(
        project,
        marker='(reference="own")' if where == "marker" else "",
        call=', reference="own"' if where == "call" else "",
    )
    if where == "ini":
        project.ini("repro_reference = own")
    if where == "policy":
        project.policy("schema: 1\nrules:\n  - check: '*'\n    reference: own\n")
    before = project.files()
    ran = project.run(*(["--repro-reference=own"] if where == "option" else []))
    assert ran.exit_code == 1
    assert ran.verdicts == {"test_image::image": "missing"}, ran.text
    assert key in ran.failure
    assert project.files() == before


def test_a_release_reach_does_not_reach_other_hardware(project):
    record_elsewhere(project)
    assert project.run("--repro-reference=release").verdicts == {"test_image::image": "missing"}
    assert project.run("--repro-reference=any").verdicts == {"test_image::image": "exact"}


def test_another_kind_of_hardware_is_never_a_reference(project):
    write(project)
    project.record()
    project.rename_hardware("ascend910b1")
    ran = project.run()
    assert ran.verdicts == {"test_image::image": "missing"}
    assert "ascend910b1" in ran.failure


def test_another_framework_is_never_a_reference(project):
    write(project)
    project.record()
    project.rename_framework("mindspore-2.10.0")
    assert project.run().verdicts == {"test_image::image": "missing"}


def test_a_new_environment_changes_no_verdict_of_one_that_has_its_own(project):
    record_elsewhere(project, value=CLEARLY)
    write(project)
    project.record()
    (manifest,) = (p for p in project.baselines.rglob("test_story.yaml") if "-77c" not in str(p))
    with_both = project.run().rows
    write(project, SLIGHTLY)
    drift_with_both = project.run().verdicts
    for path in project.baselines.glob("*-77c-*"):
        shutil.rmtree(path)
    assert project.run().verdicts == drift_with_both == {"test_image::image": "drift"}
    write(project)
    assert project.run().rows == with_both
    assert manifest.is_file()


def test_the_order_of_references_is_total(project):
    """Of three other machines always the same is taken, in whatever order they came."""
    write(project)
    project.record()
    original = project.manifest.parent.parent
    names = {cores: hardware(project, cores) for cores in (3, 77, 9)}
    chosen = set()
    for order in ([3, 77, 9], [77, 9, 3], [9, 3, 77]):
        for cores in order:
            copy = original.with_name(names[cores])
            shutil.copytree(original, copy)
            text = (path := next(copy.rglob("*.yaml"))).read_text(encoding="utf-8")
            path.write_text(text.replace(original.name, copy.name, 1), encoding="utf-8")
        hidden = original.rename(project.folder / "hidden")
        chosen |= {row["key"] for row in project.run().rows}
        hidden.rename(original)
        for cores in order:
            shutil.rmtree(original.with_name(names[cores]))
    assert len(chosen) == 1


def test_an_envelope_too_wide_makes_a_fallback_missing_with_the_sentence(project):
    chaotic = "np.sin(noise.astype('float64') * 1e8).astype('float32')"
    record_elsewhere(project, value=chaotic)
    assert project.run().verdicts == {"test_image::image": "exact"}
    write(project, value=chaotic.replace("1e8", "1.0000001e8"))
    ran = project.run()
    assert ran.verdicts == {"test_image::image": "missing"}
    assert "a fallback proves nothing" in ran.failure
    assert "needs a baseline of its own hardware and framework version" in ran.failure
    assert "tolerance " not in ran.failure
    assert "would pass" not in ran.failure
    project.record()
    assert project.run().verdicts == {"test_image::image": "exact"}


@pytest.mark.parametrize(
    ("where", "origin"),
    [
        ("call", "repro_check at test_story.py:9"),
        ("marker", "@pytest.mark.repro"),
        ("policy", "policy.yaml line 4"),
        ("default", "the default for this machine's key"),
    ],
)
def test_a_tolerance_names_its_origin(project, where, origin):
    def source(value, atol):
        given = f'{{"atol": {atol}}}'
        write(
            project,
            value,
            marker=f"(tolerance={given})" if where == "marker" else "",
            call=f", tolerance={given}" if where == "call" else "",
        )
        if where == "policy":
            project.policy(f"""\
                schema: 1
                rules:
                  - check: "test_story.py::*"
                    tolerance: {{atol: {atol}}}
                    reason: "planted"
            """)

    source("noise * np.float32(1)", 10.0)
    project.record()
    source("noise * np.float32(1.5)", 10.0)
    loose = project.run()
    assert loose.verdicts == {"test_image::image": "drift" if where == "default" else "within"}, (
        loose.text
    )
    source("noise * np.float32(1.5)", 1e-6)
    ran = project.run()
    assert ran.verdicts == {"test_image::image": "drift"}
    assert f"from {origin}" in ran.failure


def test_the_nearest_origin_wins(project):
    project.policy("""\
        schema: 1
        rules:
          - check: "*"
            tolerance: {atol: 1.0e-9}
            reason: "planted"
    """)
    write(project)
    project.record()
    write(project, SLIGHTLY, marker='(tolerance={"atol": 1.0e-8})', call=', tolerance={"atol": 1}')
    assert project.run().verdicts == {"test_image::image": "within"}
    write(project, SLIGHTLY, marker='(tolerance={"atol": 1.0e-8})')
    assert "from @pytest.mark.repro" in project.run().failure
    write(project, SLIGHTLY)
    assert "from policy.yaml line 4" in project.run().failure


def test_a_check_near_its_tolerance_is_named_in_the_closing_lines(project):
    call = ', tolerance={"atol": 1.1}'
    write(project, call=call)
    project.record()
    write(project, "noise + np.float32(1)", call=call)
    ran = project.run()
    assert ran.exit_code == 0
    assert any("near its tolerance (0.91 of 1.0)" in line for line in ran.closing)


FACTS = """
    def pytest_repro_environment(config):
        return {{"cluster": "{cluster}", "bits.custom_ops": "{ops}"}}
"""


def test_a_projects_fact_is_recorded_and_one_that_changes_bits_makes_another_key(project):
    project.conftest(FACTS.format(cluster="night", ops="v3"))
    write(project)
    project.record()
    text = project.manifest.read_text(encoding="utf-8")
    assert "night" in text
    assert "v3" in text
    write(project, SLIGHTLY)
    assert project.run().verdicts == {"test_image::image": "drift"}

    project.conftest(FACTS.format(cluster="day", ops="v3"))
    ran = project.run()
    assert ran.verdicts == {"test_image::image": "drift"}
    assert "project.cluster night became day (not known to change bits)" in ran.failure
    assert "own: " in ran.failure

    project.conftest(FACTS.format(cluster="night", ops="v4"))
    ran = project.run()
    assert ran.verdicts == {"test_image::image": "within"}
    assert "(reference: variant; suffix " in ran.closing[1]
    ran = project.run("--repro-reference=own")
    assert ran.verdicts == {"test_image::image": "missing"}
    assert "none of them is within `own`" in ran.failure


@pytest.fixture
def l2_size(monkeypatch):
    """Simulates an L2 size per core; returns what sets it."""

    def simulate(size):
        cpu = replace(host.read_cpu(), l2_per_core_bytes=size)
        monkeypatch.setattr(host, "read_cpu", lambda: cpu)

    return simulate


@pytest.mark.parametrize("fact", ["l2", "project", "variable"])
def test_two_environments_that_differ_in_one_fact_never_share_a_baseline(
    project, monkeypatch, l2_size, fact
):
    """Each records its own bits and finds them again; neither touches the other's file."""

    def become(number):
        if fact == "l2":
            l2_size((512 << 10) * number)
        elif fact == "project":
            project.conftest(FACTS.format(cluster="night", ops=f"v{number}"))
        else:
            monkeypatch.setenv("OMP_NUM_THREADS", str(number))
        write(project, CLEARLY if number == 2 else "noise * np.float32(1)")

    become(1)
    project.record()
    first = project.files()
    become(2)
    assert project.run().verdicts == {"test_image::image": "drift"}
    project.record()
    second = project.files()
    assert {name: second[name] for name in first} == first
    assert len([name for name in second if name.endswith(".yaml")]) == 2
    for number in (1, 2):
        become(number)
        ran = project.run("--repro-reference=own")
        assert ran.verdicts == {"test_image::image": "exact"}, ran.text
    assert project.files() == second


def test_an_unreadable_l2_size_never_passes_as_a_known_one(project, l2_size):
    write(project)
    l2_size(512 << 10)
    project.record()
    l2_size(0)
    ran = project.run()
    assert ran.verdicts == {"test_image::image": "exact"}
    assert "(reference: variant; L2 512k, here unknown; suffix none, here " in ran.closing[1]
    assert project.run("--repro-reference=own").verdicts == {"test_image::image": "missing"}
