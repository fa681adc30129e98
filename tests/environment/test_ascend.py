"""Ascend's names and versions, from recorded texts: no device was at hand."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_repro.environment import ascend

RECORDED = Path(__file__).parent / "recorded/ascend"


def cann(home="", installed=RECORDED):
    variables = {"ASCEND_HOME_PATH": str(home)} if home else {}
    return ascend.cann_version(variables, installed=installed, machine="aarch64")


def test_the_recorded_versions_are_read():
    assert ascend.driver_version(installed=RECORDED) == "24.1.rc1"
    assert ascend.firmware_version(installed=RECORDED) == "7.1.0.11.220"
    assert cann() == "8.5.0"


def test_another_version_is_read_as_another(tmp_path):
    shutil.copytree(RECORDED, tmp_path / "copy")
    info = tmp_path / "copy/cann/aarch64-linux/ascend_toolkit_install.info"
    info.write_text(info.read_text().replace("version=8.5.0", "version=8.5.1", 1))
    assert cann(installed=tmp_path / "copy") == "8.5.1"


def test_a_version_is_not_taken_from_a_field_whose_name_only_ends_so(tmp_path):
    (tmp_path / "driver").mkdir()
    (tmp_path / "driver/version.info").write_text("ascendhal_version=7.35.19\nInnerversion=V1\n")
    assert ascend.driver_version(installed=tmp_path) == ""


def test_the_file_that_mindspore_checks_comes_first(tmp_path):
    home = tmp_path / "home"
    (home / "compiler").mkdir(parents=True)
    (home / "compiler/version.info").write_text("Version=9.1.T500.0.B1\n")
    assert cann(home) == "9.1.T500.0.B1"
    (home / "compiler/version.info").unlink()
    assert cann(home) == "8.5.0"


def test_the_older_folder_is_found(tmp_path):
    info = tmp_path / "ascend-toolkit/latest/aarch64-linux/ascend_toolkit_install.info"
    info.parent.mkdir(parents=True)
    info.write_text("package_name=Ascend-cann-toolkit\nversion=8.3.RC2\n")
    assert cann(installed=tmp_path) == "8.3.RC2"


def test_another_architecture_is_not_mistaken_for_ours():
    assert ascend.cann_version({}, installed=RECORDED, machine="x86_64") == ""


def test_without_files_the_versions_are_empty(tmp_path):
    assert cann(installed=tmp_path) == ""
    assert ascend.driver_version(installed=tmp_path) == ""
    assert ascend.firmware_version(installed=tmp_path) == ""


def test_the_soc_is_what_cann_says(monkeypatch):
    monkeypatch.setitem(sys.modules, "acl", SimpleNamespace(get_soc_name=lambda: "Ascend910B1"))
    assert ascend.read_soc_name(lambda: "Ascend910") == "Ascend910B1"


@pytest.mark.parametrize("error", [RuntimeError, OSError, AttributeError, ValueError])
def test_a_source_that_fails_is_passed_over(monkeypatch, error):
    def fail():
        raise error("no device")

    monkeypatch.setitem(sys.modules, "acl", SimpleNamespace(get_soc_name=fail))
    assert ascend.read_soc_name(fail, lambda: " Ascend310P3 ") == "Ascend310P3"
    assert ascend.read_soc_name(fail, lambda: "") == ""


def test_without_pyacl_the_other_sources_are_asked(monkeypatch):
    monkeypatch.setitem(sys.modules, "acl", None)
    assert ascend.read_soc_name(lambda: "Ascend910B4-1") == "Ascend910B4-1"
    assert ascend.read_soc_name() == ""
