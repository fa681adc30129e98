"""Bad input gives what it should or one clear error that names check and file; disk stays as is."""

from __future__ import annotations

import importlib.util
import os
import re
import stat

import pytest

from tests.waiting import at_most_s

ONE = """
    import dataclasses, ml_dtypes

    @pytest.mark.repro
    def test_value(repro_check):
        {before}
        repro_check({value}, name={name!r})

    output = dataclasses.make_dataclass("Output", ["images", "latents"])
"""


def write(project, value="np.zeros(3)", name="value", before=""):
    project.write(ONE.format(value=value, name=name, before=before))


REFUSED = {
    "object array": ("np.array([object()])", "dtype object"),
    "complex": ("np.zeros(2, 'complex64')", "value.real and value.imag"),
    "structured": ("np.zeros(2, [('a', 'f4')])", "check the fields one by one"),
    "text": ("np.array(['a'])", "compare text with a plain assert"),
    "dates": ("np.zeros(2, 'M8[s]')", "view('int64')"),
    "masked": ("np.ma.array([1.0, 2.0], mask=[0, 1])", "the mask would be lost"),
    "none": ("None", "NoneType"),
    "string": ("'text'", "builtins.str"),
    "empty list": ("[]", "there is no array in the value"),
    "an object inside a nest": ("{'a': [np.zeros(2), object()]}", "a[1]"),
    "set": ("{1.0, 2.0}", "builtins.set"),
    "iterator": ("iter([1.0])", "cannot be checked"),
    "only none": ("(None, None)", "there is no array in the value"),
    "bytes": ("b'abc'", "builtins.bytes"),
    "integers beyond 64 bits": ("[2**70, 1]", "no 64-bit dtype"),
    "two NaN keys": (
        "{float('nan'): 1.0, -float('nan'): 2.0}",
        "at [nan]: two keys have the same text",
    ),
    "a key without a text": ("{object(): 1.0}", "a key of type builtins.object"),
    "an empty nest inside": ("{'a': np.zeros(2), 'b': [{}]}", "b[0]: an empty dict holds nothing"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_value_that_no_baseline_can_hold_is_refused_by_name(project, kind):
    value, words = REFUSED[kind]
    write(project, value)
    for arguments in ((), ("--repro-update",)):
        ran = project.run(*arguments)
        assert ran.exit_code == 1
        assert "test_story.py::test_value::value" in ran.failure
        assert words in ran.failure
        assert "repro_check(" in ran.failure
        assert "pytest_repro/core" not in ran.failure
        assert project.files() == {}


HELD = {
    "empty": "np.zeros((0, 3))",
    "0-d": "np.float32(1.5)",
    "a Python number": "3",
    "strided": "np.arange(24.0).reshape(4, 6)[::2, ::-3]",
    "transposed": "np.arange(6.0).reshape(2, 3).T",
    "big-endian": "np.arange(6, dtype='>f4')",
    "NaN payload": "np.array([0x7FF8DEADBEEF0001], 'uint64').view('float64')",
    "infinities": "np.array([np.inf, -np.inf, np.nan])",
    "bfloat16": "np.arange(4).astype(ml_dtypes.bfloat16)",
    "read-only": "np.broadcast_to(np.float16(2), (3, 3))",
    "bool": "np.array([True, False])",
    "a dataclass": "output([np.zeros(2), {'x': 1.5}], np.ones(3))",
}


@pytest.mark.parametrize("kind", HELD)
def test_an_unusual_value_is_recorded_and_exact(project, kind):
    write(project, HELD[kind])
    project.record()
    files = project.files()
    assert project.run().verdicts == {"test_value::value": "exact"}
    assert project.run("--repro-update=all").verdicts == {"test_value::value": "unchanged"}
    assert project.files() == files


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("np.arange(24.0).reshape(4, 6)[::2, ::-3]", "np.array([[5.0, 2.0], [17.0, 14.0]])"),
        ("np.arange(6, dtype='>f4')", "np.arange(6, dtype='<f4')"),
    ],
    ids=["strides", "byte order"],
)
def test_how_an_array_lies_in_memory_is_no_difference(project, one, other):
    write(project, one)
    project.record()
    write(project, other)
    assert project.run().verdicts == {"test_value::value": "exact"}
    write(project, other + " + 1" if other.startswith("np") else other)
    assert project.run().verdicts == {"test_value::value": "drift"}


STRUCTURE = {
    "a list for a tuple": ("(X, X)", "[X, X]", "the value was a tuple or dict and is list"),
    "a list inside": ("{'a': (X,)}", "{'a': [X]}", "a was a tuple or dict and is list"),
    "numbers for an array": ("np.ones(2)", "[1.0, 1.0]", "the value was an array and is list"),
    "None for an array": ("(X, X)", "(X, None)", "[1] was an array and is None"),
    "a place more that is None": ("(X,)", "(X, None)", "[1] was absent and is None"),
    "a key": ("{'a': X}", "{'b': X}", "tensor 'a': is no longer there"),
}


@pytest.mark.parametrize("change", STRUCTURE)
def test_a_changed_structure_is_a_drift_that_names_the_place(project, change):
    before, after, words = STRUCTURE[change]
    for value, verdict in ((before, "recorded"), (before, "exact"), (after, "drift")):
        write(project, value.replace("X", "np.zeros(3)"))
        ran = project.run(*(["--repro-update"] if verdict == "recorded" else []))
        assert ran.verdicts == {"test_value::value": verdict}
    assert "gate value" in ran.failure
    assert words in ran.failure


@pytest.mark.parametrize("value", ["images", "latents"])
def test_every_field_of_a_dataclass_is_compared(project, value):
    write(project, "output(images=np.zeros(2), latents=np.ones(3))")
    project.record()
    write(project, f"output(**{{'images': np.zeros(2), 'latents': np.ones(3), '{value}': [1.0]}})")
    ran = project.run()
    assert ran.verdicts == {"test_value::value": "drift"}
    assert value in ran.failure


def test_what_was_left_out_is_a_drift_when_it_comes(project):
    write(project, "{'a': np.zeros(2)}")
    project.record()
    write(project, "{'a': np.zeros(2), 'b': np.zeros(2)}")
    assert project.run().verdicts == {"test_value::value": "drift"}


NAMES = {
    "slashes": "a/b/../../c",
    "300 characters": "n" * 300,
    "unicode": "größe-日本",
    "yaml": "- {x: [y]} # 'z' \"q\" &a *b",
    "a number": "007",
    "yes": "yes",
    "dots": "..",
    "one colon": "a:b",
    "blanks inside": "a  b",
}


@pytest.mark.parametrize("kind", NAMES)
def test_a_name_of_any_text_is_found_again(project, kind):
    write(project, name=NAMES[kind])
    project.record()
    again = project.run()
    assert again.verdicts == {f"test_value::{NAMES[kind]}": "exact"}
    assert all(name.startswith(("cpu-", "tensors/", "records/")) for name in project.files())
    write(project, "np.ones(3)", name=NAMES[kind])
    assert project.run().verdicts == {f"test_value::{NAMES[kind]}": "drift"}


def test_names_that_differ_only_in_case_are_two_checks(project):
    source = """
        @pytest.mark.repro
        def test_value(repro_check):
            repro_check(np.zeros(2), name="Image")
            repro_check(np.ones(2) * {factor}, name="image")
    """
    project.write(source.format(factor=1))
    project.record()
    project.write(source.format(factor=2))
    assert project.run().verdicts == {"test_value::Image": "exact", "test_value::image": "drift"}


@pytest.mark.parametrize("name", ["a::b", "", "  ", "a\nb", "a\x00b"], ids=repr)
def test_a_name_that_cannot_be_one_is_refused(project, name):
    write(project, name=name)
    ran = project.run("--repro-update")
    assert ran.exit_code == 1
    assert "test_story.py::test_value" in ran.failure
    assert "cannot be the name of a check" in ran.failure
    assert project.files() == {}


def test_a_name_used_twice_is_refused_and_says_where_it_was_used_first(project):
    write(project, before='repro_check(np.ones(2), name="value")')
    ran = project.run("--repro-update")
    assert ran.exit_code == 1
    assert "the name 'value' is used twice in this test" in ran.failure
    assert "test_story.py:10" in ran.failure
    assert project.files() == {}


CAUGHT = """
    @pytest.mark.repro
    def test_caught(repro_check):
        repro_check(np.zeros(2), name="good")
        try:
            repro_check({value}, name="other")
        except Exception:
            pass
"""


def test_a_refusal_that_the_test_catches_is_not_green(project):
    project.write(CAUGHT.format(value="object()"))
    ran = project.run("--repro-update")
    assert ran.counts == {"failed": 1}
    assert "test_caught::other: a value of type builtins.object cannot be checked" in ran.failure
    assert project.files() == {}
    project.write(CAUGHT.format(value="1.0"))
    assert project.record().counts == {"passed": 1}


def test_checks_without_a_name_get_one_each(project):
    project.write("""
        @pytest.mark.repro
        def test_value(repro_check):
            repro_check(np.zeros(2))
            repro_check(np.ones(2))
    """)
    project.record()
    assert project.run().verdicts == {"test_value::value": "exact", "test_value::value-2": "exact"}


def test_a_baselines_folder_that_is_a_file_is_named(project):
    write(project)
    project.baselines.write_text("not a folder", encoding="utf-8")
    for arguments in ((), ("--repro-update",)):
        ran = project.run(*arguments)
        assert ran.exit_code == 1
        assert "test_story.py::test_value" in ran.failure
        assert re.search(r"(?m)^  where +baselines$", ran.failure)
        assert "NotADirectoryError" in ran.failure
        assert project.baselines.read_text(encoding="utf-8") == "not a folder"


def test_a_folder_that_cannot_be_written_fails_the_recording(project, monkeypatch):
    """Root may write anywhere, so the refusal is planted where the store renames."""
    from pytest_repro.store import store

    write(project)
    project.record()
    before = project.files()
    write(project, "np.ones(3)")

    def refuse(path, data):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as planted:
        planted.setattr(store, "write_bytes", refuse)
        ran = project.run("--repro-update")
    assert ran.exit_code == 1
    assert "cannot write a baseline" in ran.text
    assert "Permission denied" in ran.text
    assert "baselines/" in ran.text
    assert "checked nothing" not in ran.text
    assert "updated" not in " ".join(ran.closing)
    assert "because it could not be written: test_story.py::test_value::value" in ran.text
    assert ran.text.count("cannot write a baseline") == 1
    assert "rerun" not in ran.text  # the check did not fail: nothing was wrong with the test
    assert project.files() == before
    assert project.run("--repro-update").verdicts == {"test_value::value": "updated"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into a read-only folder")
def test_a_read_only_folder_fails_the_recording(project):
    write(project)
    project.baselines.mkdir()
    project.baselines.chmod(stat.S_IRUSR | stat.S_IXUSR)
    ran = project.run("--repro-update")
    project.baselines.chmod(stat.S_IRWXU)
    assert ran.exit_code == 1
    assert "cannot write a baseline" in ran.text


def pointer():
    return "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 3\n"


MANIFESTS = {
    "newer schema": (lambda text: text.replace("schema: 2", "schema: 9"), "schema 9"),
    "truncated in the index": (lambda text: text[: text.index("---") - 20], "truncated"),
    "empty": (lambda text: "", "cannot be read"),
    "garbled": (lambda text: text.replace("{value:", "{valu\x07e:"), "cannot be read"),
    "a list": (lambda text: "[1, 2]\n---\n{}\n", "cannot be read"),
    "git-lfs pointer": (lambda text: pointer(), "git lfs pull"),
    "merge of the index": (lambda text: unmerged(text, "  test_value"), "git checkout --ours -- "),
}


def unmerged(text, line_begin):
    """What git leaves of a line that two branches changed."""
    begin = text.index(line_begin)
    end = text.index("\n", begin) + 1
    both = f"<<<<<<< HEAD\n{text[begin:end]}=======\n{text[begin:end]}>>>>>>> other\n"
    return text[:begin] + both + text[end:]


@pytest.mark.parametrize("kind", MANIFESTS)
def test_a_broken_manifest_is_corrupt_and_stays_as_it_is(project, kind):
    breaking, words = MANIFESTS[kind]
    write(project)
    project.record()
    project.manifest.write_text(breaking(project.manifest.read_text()), encoding="utf-8")
    before = project.files()
    write(project, "np.ones(3)")
    for arguments in ((), ("--repro-update",), ("--repro-update=all",)):
        ran = project.run(*arguments)
        assert ran.exit_code == 1
        assert ran.verdicts == {"test_value::value": "corrupt"}, ran.text
        assert words in ran.failure
        assert "test_story.py::test_value::value" in ran.failure
        assert project.manifest.relative_to(project.folder).as_posix() in ran.failure
        assert project.files() == before


def test_a_manifest_cut_in_its_second_half_is_corrupt(project):
    write(project)
    project.record()
    text = project.manifest.read_text(encoding="utf-8")
    project.manifest.write_text(text[: text.index("statistics")], encoding="utf-8")
    before = project.files()
    assert project.run().verdicts == {"test_value::value": "corrupt"}
    write(project, "np.ones(3)")
    for arguments in ((), ("--repro-update",)):
        ran = project.run(*arguments)
        assert ran.exit_code == 1
        assert project.manifest.name in ran.text
        assert project.files() == before


def test_a_merge_that_left_both_sides_of_a_block_is_named(project):
    write(project)
    project.record()
    text = project.manifest.read_text(encoding="utf-8")
    project.manifest.write_text(unmerged(text, "    tensors:"), encoding="utf-8")
    write(project, "np.ones(3)")
    ran = project.run()
    assert ran.verdicts == {"test_value::value": "corrupt"}
    assert "a merge left both sides in a manifest" in ran.failure
    assert "'<<<<<<< HEAD'" in ran.failure


TENSORS = {
    "garbled": (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "another digest"),
    "truncated": (lambda data: data[:-3], "not a tensor that pytest-repro wrote"),
    "empty": (lambda data: b"", "not a tensor that pytest-repro wrote"),
    "git-lfs pointer": (lambda data: pointer().encode(), "git lfs pull"),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_a_broken_tensor_is_corrupt_when_it_is_needed(project, kind):
    breaking, words = TENSORS[kind]
    write(project)
    project.record()
    project.tensor.write_bytes(breaking(project.tensor.read_bytes()))
    before = project.files()
    assert project.run().verdicts == {"test_value::value": "exact"}
    write(project, "np.ones(3)")
    ran = project.run()
    assert ran.verdicts == {"test_value::value": "corrupt"}, ran.text
    assert words in ran.failure
    assert "test_story.py::test_value::value" in ran.failure
    assert project.tensor.relative_to(project.folder).as_posix() in ran.failure
    assert project.files() == before


@pytest.mark.parametrize("what", ["manifest", "tensor"])
def test_a_named_pipe_instead_of_a_file_is_corrupt_and_is_not_waited_for(project, what):
    write(project)
    project.record()
    path = getattr(project, what)
    path.unlink()
    os.mkfifo(path)
    before = project.files()
    write(project, "np.ones(3)")
    for arguments in ((), ("--repro-update",)) if what == "manifest" else ((),):
        with at_most_s(60):
            ran = project.run(*arguments)
        assert ran.exit_code == 1
        assert ran.verdicts == {"test_value::value": "corrupt"}, ran.text
        assert "a named pipe is in the place of a file" in ran.failure
        assert path.relative_to(project.folder).as_posix() in ran.failure
        assert path.is_fifo()
        assert project.files() == before
    path.unlink()  # the control: an absent file is another verdict
    assert project.run().verdicts == {
        "test_value::value": {"manifest": "missing"}.get(what, "drift")
    }


def test_a_named_pipe_instead_of_the_policy_is_refused_and_is_not_waited_for(project):
    write(project)
    project.record()
    os.mkfifo(project.baselines / "policy.yaml")
    with at_most_s(60):
        ran = project.run()
    assert ran.exit_code == 1
    assert "a named pipe is in the place of a file" in ran.failure
    assert re.search(r"\bwhere +baselines/policy.yaml", ran.failure)
    assert "passed" not in ran.counts
    (project.baselines / "policy.yaml").unlink()
    assert project.run().verdicts == {"test_value::value": "exact"}


def test_a_wrong_policy_names_its_line(project):
    write(project)
    project.policy("""
        schema: 1
        rules:
          - check: "*"
            tolerence: exact
    """)
    before = project.files()
    ran = project.run("--repro-update")
    assert ran.exit_code == 1
    assert "policy.yaml line 5" in ran.failure
    assert re.search(r"\bwhere +baselines/policy.yaml:5$", ran.failure, re.MULTILINE)
    assert "0 checks" not in ran.text
    assert "did you mean 'tolerance'" in ran.failure
    assert "During handling" not in ran.failure
    assert project.files() == before


def test_marker_arguments_are_validated(project):
    for arguments, words in {
        "sed=1": "did you mean 'seed'",
        "name='x'": "`name` belongs to the decorator",
        "seed=-1": "seed: -1 is too small, the least is 0",
        "seed='x'": "'x' is not a whole number",
        "runs=1": "runs: 1 is too small, the least is 2",
        "reference='near'": "'near' is not one of own, variant, release, any",
        "tolerance={'atoll': 1}": "did you mean 'atol'",
        "rng='off'": "needs a reason",
        "1": "the arguments of `repro` have names",
    }.items():
        project.write(f"""
            @pytest.mark.repro({arguments})
            def test_value(repro_check):
                repro_check(np.zeros(2))
        """)
        ran = project.run("--repro-update")
        assert ran.exit_code == 1
        assert words in ran.failure
        assert "test_story.py::test_value" in ran.failure
        assert ran.counts == {"errors": 1}
        assert project.files() == {}


def test_call_arguments_are_validated(project):
    for arguments, words in {
        "tolerance={'atoll': 1}": "did you mean 'atol'",
        "tolerance=0.1": "tolerance",
        "reference='near'": "'near' is not one of own, variant, release, any",
        "name=3": "3 cannot be the name of a check",
    }.items():
        project.write(f"""
            @pytest.mark.repro
            def test_value(repro_check):
                repro_check(np.zeros(2), {arguments})
        """)
        ran = project.run("--repro-update")
        assert ran.exit_code == 1
        assert words in ran.failure
        assert project.files() == {}


@pytest.mark.parametrize("part", ["{value: ", ", noise: "])
def test_one_changed_digit_in_the_index_is_corrupt_and_never_within(project, part):
    write(project)
    project.record()
    assert project.run().verdicts == {"test_value::value": "exact"}
    text = project.manifest.read_text(encoding="utf-8")
    at = text.index(part) + len(part) + 3
    digit = "0" if text[at] != "0" else "1"
    project.manifest.write_text(text[:at] + digit + text[at + 1 :], encoding="utf-8")
    ran = project.run()
    assert ran.verdicts == {"test_value::value": "corrupt"}, ran.text
    assert "disagree" in ran.text


@pytest.mark.skipif(bool(importlib.util.find_spec("mindspore")), reason="MindSpore is installed")
def test_watching_without_mindspore_says_so(project):
    project.write("""
        @pytest.mark.repro
        def test_value(repro_watch, repro_check):
            repro_watch([1.0])
            repro_check(np.zeros(2))
    """)
    ran = project.run()
    assert "a list cannot be watched: MindSpore is not installed" in ran.failure
    assert "pytest-repro[mindone]" in ran.failure
