"""What a fixture of the whole run or a module replaces and never puts back changes no recording."""

from __future__ import annotations

import re

import pytest

FUNCTIONS = (
    "os.replace",
    "os.rename",
    "os.fsync",
    "os.mkdir",
    "os.listdir",
    "pathlib.Path.replace",
    "pathlib.Path.write_bytes",
    "pathlib.Path.mkdir",
    "pathlib.Path.is_file",
    "tempfile.mkstemp",
    "time.time",
    "time.strftime",
    "datetime.datetime",
    "yaml.dump",
    "yaml.load",
    "json.dumps",
    "json.loads",
    "gzip.compress",
    "safetensors.numpy.save",
    "safetensors.deserialize",
)
OF_A_MODULE = ("os.replace", "pathlib.Path.replace", "pathlib.Path.write_bytes", "time.time")
SOURCE = """
    from unittest import mock
    import datetime, filelock, gzip, json, os, pathlib, safetensors.numpy, tempfile, time, yaml

    def replace():
        for function in {functions!r}:
            mock.patch(function).start()

    {scope}

    @pytest.mark.repro
    def test_value(repro_generator, repro_check):
        assert {replaced}
        repro_check(repro_generator.random(4) * {factor}, name="out")
"""
FIXTURE = """
    @pytest.fixture(scope="session", autouse=True)
    def outlives():
        replace()
"""
REPLACED = "isinstance(os.replace, mock.Mock)"


def write(project, functions, scope, factor=1, replaced=REPLACED):
    source = SOURCE.format(functions=functions, scope=scope, factor=factor, replaced=replaced)
    project.write(source)


@pytest.mark.parametrize(
    ("functions", "scope"),
    [(FUNCTIONS, FIXTURE), (OF_A_MODULE, "replace()")],
    ids=["fixture", "module"],
)
def test_a_recording_is_written_and_compared(project, functions, scope):
    write(project, functions, scope)
    ran = project.run_apart("--repro-update")
    assert ran.exit_code == 0, ran.text
    text = project.manifest.read_text(encoding="utf-8")
    assert re.search(r"at: '?20\d\d-\d\d-\d\dT", text), text
    assert not [one for one in project.files() if one.endswith(".tmp")]
    ran = project.run_apart()
    assert ran.exit_code == 0, ran.text
    assert "1 exact" in ran.text
    before = project.files()
    write(project, functions, scope, factor=2)
    ran = project.run_apart()
    assert ran.exit_code == 1
    assert "1 drift" in ran.text
    assert "4 of 4 elements differ" in ran.text  # the stored tensor was read
    assert project.files() == before
    ran = project.run_apart("--repro-update")
    assert ran.exit_code == 0, ran.text
    assert project.files() != before


def test_the_control_nothing_is_replaced_without_the_fixture(project):
    write(project, FUNCTIONS, scope="")
    assert project.run_apart("--repro-update").exit_code == 1
