"""`--repro-isolate`: what one process hides is found by a fresh one, and nothing else changes."""

from __future__ import annotations

import os

import pytest

SUITE = """
    import os, signal, unittest, pathlib

    HERE = pathlib.Path(__file__)
    LOADED = os.getpid()

    @pytest.mark.repro
    def test_process(repro_generator, repro_check):
        noise = repro_generator.standard_normal((2, 3))
        noise[1, 2] += os.getpid()
        repro_check(noise, name="value")

    @pytest.mark.repro
    def test_hash_seed(repro_generator, repro_check):
        # 26! orders, each of other shapes: two hash seeds never give the same one.
        for letter in sorted("abcdefghijklmnopqrstuvwxyz", key=hash):
            repro_generator.standard_normal(ord(letter))
        repro_check(np.array([hash("word")]), name="value")

    @pytest.mark.repro
    def test_leaves_a_variable(repro_check):
        os.environ["LEFT_BEHIND"] = "1"
        repro_check(np.zeros(2), name="value")

    @pytest.mark.repro
    def test_needs_a_variable(repro_check):
        repro_check(np.zeros(2), name="value")
        assert "LEFT_BEHIND" in os.environ

    @pytest.fixture
    def once():
        # Fresh means: not the process that wrote the file.
        if HERE.with_name("pid").read_text() != str(os.getpid()):
            os.kill(os.getpid(), signal.SIGKILL)

    @pytest.mark.repro
    def test_crashes(once, repro_check):
        repro_check(np.zeros(2), name="value")

    @pytest.mark.repro
    @pytest.mark.parametrize("process", [os.getpid()])
    def test_unknown_elsewhere(repro_check, process):
        repro_check(np.zeros(2), name="value")

    @pytest.mark.repro
    @pytest.mark.parametrize("text", ["a/b::c [d] \\u00e9"])
    def test_clean(repro_generator, repro_check, text):
        repro_check(repro_generator.standard_normal((2, 3)), name="value")

    @pytest.mark.repro
    class TestClass(unittest.TestCase):
        def test_clean(self):
            self.repro_check(self.repro_generator.random(3), name="value")
"""
FOUND = {
    "test_process": "run 2, in a fresh process, drew the same noise but gave different numbers: "
    "1 of 6 elements, most at (1, 2)",
    "test_hash_seed": "run 2, in a fresh process, drew different noise: draw",
    "test_needs_a_variable": "run 2, in a fresh process, raised AssertionError",
    "test_crashes": "its run in a fresh process was ended by SIGKILL, before the test was over",
    "test_unknown_elsewhere": "it collected 8 tests there, and this was not among them",
}


@pytest.fixture
def hash_seed_free(monkeypatch):
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)


def _begin(project):
    project.write(SUITE)
    (project.folder / "pid").write_text(str(os.getpid()), encoding="utf-8")


def test_one_process_hides_all_of_it(project, hash_seed_free, monkeypatch):
    _begin(project)
    monkeypatch.setenv("LEFT_BEHIND", "1")
    assert project.record("--repro-envelope=0").counts == {"passed": 8}


def test_a_fresh_process_finds_what_one_process_hides(project, hash_seed_free, monkeypatch):
    _begin(project)
    monkeypatch.setenv("LEFT_BEHIND", "to be put back")
    monkeypatch.delenv("LEFT_BEHIND")
    ran = project.run("--repro-update", "--repro-isolate", "--repro-envelope=0")
    failed = {test.partition("[")[0]: text for test, text in ran.failures.items()}
    assert failed.keys() == FOUND.keys(), ran.text
    for test, words in FOUND.items():
        assert words in failed[test], failed[test]
    verdicts = {name.partition("[")[0].partition("::value")[0]: verdict
                for name, verdict in ran.verdicts.items()}  # fmt: skip
    assert verdicts == {
        "test_process": "nondeterministic",
        "test_hash_seed": "nondeterministic",
        "test_leaves_a_variable": "recorded",
        "test_needs_a_variable": "nondeterministic",
        "test_clean": "recorded",
        "TestClass::test_clean": "recorded",
    }
    stored = project.manifest.read_text(encoding="utf-8")
    assert stored.count("runs: 3") == 3
    assert not any(f"{test}::" in stored for test in FOUND)


def test_it_gets_the_options_and_leaves_the_runs_files_alone(project):
    """Also with workers."""
    pytest.importorskip("xdist")
    project.conftest("""
        def pytest_addoption(parser):
            parser.addoption("--flavour", default="none")
            parser.addini("depth", "")
    """)
    (project.folder / "other.ini").write_text(
        "[pytest]\nrepro_framework = numpy\ndepth = 3\n", encoding="utf-8"
    )
    project.write("""
        @pytest.fixture(scope="session")
        def kept(tmp_path_factory):
            path = tmp_path_factory.mktemp("kept") / "file"
            path.write_text("x")
            return path

        @pytest.mark.repro
        @pytest.mark.parametrize("count", [1, 2])
        def test_options(repro_generator, repro_check, request, kept, count):
            assert kept.read_text() == "x"
            assert request.config.getoption("--flavour") == "salt"
            assert request.config.getini("depth") == "3"
            repro_check(repro_generator.random(count), name="value")
    """)
    given = ("-c", "other.ini", "--flavour", "salt", "--basetemp=temporary", "--junitxml=junit.xml")
    ran = project.run_apart(
        "-n", "2", "--repro-update", "--repro-isolate", "--repro-envelope=0", *given
    )
    assert ran.exit_code == 0, ran.text
    assert project.manifest.read_text(encoding="utf-8").count("runs: 3") == 2
    assert 'tests="2"' in (project.folder / "junit.xml").read_text(encoding="utf-8")


def test_it_happens_only_where_a_second_run_is_wanted(project):
    project.write("""
        import os, pathlib

        @pytest.mark.repro
        def test_count(repro_generator, repro_check):
            with pathlib.Path(__file__).with_name("pids").open("a") as file:
                file.write(f"{os.getpid()}\\n")
            repro_check(repro_generator.random(2), name="value")
    """)
    project.ini("repro_isolate = on\n")
    project.record("--repro-envelope=0")
    assert project.run().verdicts == {"test_count::value": "exact"}
    pids = (project.folder / "pids").read_text(encoding="utf-8").split()
    assert len(pids) == 4
    assert len(set(pids)) == 2
    assert pids[0] != pids[1]


def test_recording_runs_the_first_test_of_a_module_afresh(project, hash_seed_free):
    """Until one sees the same values there: a module that has no such fault costs one process."""
    project.ini("repro_isolate = auto\n")
    project.write("""
        import functools, os

        LOADED = np.frombuffer(os.urandom(8), "uint8")

        @functools.lru_cache
        def cached():
            return np.frombuffer(os.urandom(8), "uint8").copy()

        @pytest.mark.repro
        def test_import(repro_check):
            repro_check(LOADED.copy(), name="value")

        @pytest.mark.repro
        def test_cache(repro_check):
            repro_check(cached(), name="value")

        @pytest.mark.repro
        def test_clean(repro_generator, repro_check):
            repro_check(repro_generator.random(3), name="value")

        @pytest.mark.repro
        def test_later(repro_generator, repro_check):
            repro_check(repro_generator.random(3) + len(os.environ["HERE"]), name="value")
    """)
    project.conftest("import os\nos.environ['HERE'] = 'x'\n")
    ran = project.run("--repro-update", "--repro-envelope=0")
    assert ran.verdicts == {
        "test_import::value": "nondeterministic",
        "test_cache::value": "nondeterministic",
        "test_clean::value": "recorded",
        "test_later::value": "recorded",
    }, ran.text
    assert "in a fresh process, drew the same noise but gave different numbers" in ran.text
    stored = project.manifest.read_text(encoding="utf-8")
    assert stored.count("runs: 3") == stored.count("runs: 2") == 1


def test_the_control_nothing_runs_afresh_when_it_is_off_or_nothing_is_recorded(project):
    project.write("""
        import os, pathlib

        @pytest.mark.repro
        def test_count(repro_generator, repro_check):
            with pathlib.Path(__file__).with_name("pids").open("a") as file:
                file.write(f"{os.getpid()}\\n")
            repro_check(repro_generator.random(2) * {factor}, name="out")
    """.replace("{factor}", "1"))  # fmt: skip
    project.record("--repro-envelope=0")
    project.ini("repro_isolate = auto\n")
    project.write((project.folder / "test_story.py").read_text().replace("* 1", "* 2"))
    assert project.run().verdicts == {"test_count::out": "drift"}
    assert len(set((project.folder / "pids").read_text().split())) == 1


def test_what_a_fresh_process_cannot_run_is_recorded_and_said(project):
    project.ini("repro_isolate = auto\n")
    (project.folder / "pid").write_text(str(os.getpid()), encoding="utf-8")
    project.write("""
        import os, pathlib

        @pytest.fixture
        def server():
            if pathlib.Path(__file__).with_name("pid").read_text() != str(os.getpid()):
                raise OSError("address in use")

        @pytest.mark.repro
        def test_server(server, repro_generator, repro_check):
            repro_check(repro_generator.random(3), name="value")
    """)
    ran = project.record("--repro-envelope=0")
    assert ran.verdicts == {"test_server::value": "recorded"}
    said = "test_story.py was not compared with a fresh process: a test raised OSError"
    assert said in ran.text, ran.text
