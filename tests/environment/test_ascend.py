"""Ascend's names and versions, from recorded texts: no device was at hand."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_repro.environment import ascend
from pytest_repro.environment.key import soc_key
from pytest_repro.errors import EnvironmentFault

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


def test_the_release_comes_first_then_that_of_version_cfg_then_the_compiler(tmp_path):
    home = tmp_path / "home"
    info = home / "aarch64-linux/ascend_toolkit_install.info"
    for path in (home / "compiler/version.info", info):
        path.parent.mkdir(parents=True)
    (home / "compiler/version.info").write_text("Version=7.6.0.1.220\n")
    assert cann(home) == "7.6.0.1.220"
    config = home / "version.cfg"
    config.write_text(
        "# version: 1.0\nruntime_running_version=[7.6.0.1.220:8.0.0]\n"
        "compiler_running_version=[7.6.0.1.220:8.0.0]\n"
    )
    assert cann(home) == "8.0.0"
    config.write_text("runtime_running_version=[1.83.T8.0.B128:CANN-1.83]\n")
    assert cann(home) == "1.83"
    info.write_text("package_name=Ascend-cann-toolkit\nversion=8.0.RC3\n")
    assert cann(home) == "8.0.RC3"
    info.unlink(), config.unlink(), (home / "compiler/version.info").unlink()
    assert cann(home) == "8.5.0"


def test_of_two_installations_the_one_in_use_counts_and_without_it_neither(tmp_path):
    for folder, version in (("cann", "8.5.0"), ("ascend-toolkit/latest", "8.3.RC2")):
        info = tmp_path / folder / "aarch64-linux/ascend_toolkit_install.info"
        info.parent.mkdir(parents=True)
        info.write_text(f"version={version}\n")
    assert cann(tmp_path / "ascend-toolkit/latest", installed=tmp_path) == "8.3.RC2"
    assert cann(tmp_path / "cann", installed=tmp_path) == "8.5.0"
    assert cann(installed=tmp_path) == ""
    info.write_text("version=8.5.0\n")
    assert cann(installed=tmp_path) == "8.5.0"


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


def table(name):
    return (RECORDED / f"npu-smi/{name}.txt").read_text()


@pytest.mark.parametrize(
    ("recorded", "soc"),
    [
        ("910a", "Ascend910A"),
        ("910b", "Ascend910B"),
        ("910b1", "Ascend910B1"),
        ("910b2", "Ascend910B2"),
        ("910b3", "Ascend910B3"),
        ("910b4", "Ascend910B4"),
        ("910b4-1", "Ascend910B4-1"),
        ("310p3", "Ascend310P3"),
    ],
)
def test_npu_smi_names_the_soc(recorded, soc):
    found = ascend.soc_of_table(table(recorded))
    assert found == soc
    assert soc_key(found) == soc.lower()


def test_npu_smi_names_only_the_family_of_an_a3_so_it_gives_no_key():
    found = ascend.soc_of_table(table("a3"))
    with pytest.raises(EnvironmentFault, match="family"):
        soc_key(found)
    assert soc_key("Ascend910_9391") == "ascend910_9391"  # as CANN itself names it


def test_cards_of_two_kinds_or_none_give_no_name():
    assert ascend.soc_of_table(table("910b3") + table("910b4")) == ""
    assert ascend.soc_of_table(table("no-device")) == ""


def npu_smi(folder, text, code=0):
    """A command that prints what ``npu-smi info`` prints."""
    (folder / "text").write_text(text)
    command = folder / "npu-smi"
    command.write_text(f"#!/bin/sh\n[ $1 = info ] && cat '{folder}/text'\nexit {code}\n")
    command.chmod(0o755)
    return str(command)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell script")
def test_a_device_that_vanishes_and_a_container_without_npu_smi_give_no_name(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "acl", None)
    here = npu_smi(tmp_path, table("910b3"))
    assert ascend.read_soc_name(lambda: ascend.ask_npu_smi(here)) == "Ascend910B3"
    gone = npu_smi(tmp_path, table("910b3"), code=255)
    assert ascend.read_soc_name(lambda: ascend.ask_npu_smi(gone)) == ""
    assert ascend.read_soc_name(lambda: ascend.ask_npu_smi(str(tmp_path / "absent"))) == ""
    monkeypatch.setattr(ascend, "_NPU_SMI_TIMEOUT_S", 0.2)
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    assert ascend.read_soc_name(lambda: ascend.ask_npu_smi(str(slow))) == ""


def test_without_pyacl_the_other_sources_are_asked(monkeypatch):
    monkeypatch.setitem(sys.modules, "acl", None)
    assert ascend.read_soc_name(lambda: "Ascend910B4-1") == "Ascend910B4-1"
    assert ascend.read_soc_name() == ""
