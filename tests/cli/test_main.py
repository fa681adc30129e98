"""The command as a process: codes, silence on a closed pipe, a light import, a real terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_repro.cli import main
from tests.cli.stores import IMAGE, LATENTS, fill, run

HERE = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "pytest_repro.cli"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path[1:]])}


def test_our_errors_are_text_on_stderr_with_their_own_code(tmp_path, capsys):
    fill(tmp_path)
    manifest = next((tmp_path / "baselines").rglob("*.yaml"))
    manifest.write_text("not a manifest")
    assert run(tmp_path, "list") == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "a stored baseline cannot be read" in captured.err
    assert "Traceback" not in captured.err
    assert run(tmp_path / "absent", "list") == 2
    assert "is not a folder" in capsys.readouterr().err


def test_an_interrupt_is_quiet(tmp_path, monkeypatch, capsys):
    from pytest_repro.analysis import sides as upkeep

    def interrupt(*_):
        raise KeyboardInterrupt

    fill(tmp_path)
    monkeypatch.setattr(upkeep, "list_checks", interrupt)
    assert run(tmp_path, "list") == 130
    assert capsys.readouterr().err.strip() == ""


@pytest.mark.parametrize(
    "command", ["list", "matrix", "sensitivity", "verify", "gc", "prune", "policy check"]
)
def test_a_misspelt_folder_is_refused_and_not_taken_for_an_empty_one(tmp_path, capsys, command):
    fill(tmp_path)
    assert run(tmp_path, *command.split(), "--baselines", "baseline") == 2
    assert "there is no folder" in capsys.readouterr().err


def test_from_a_subfolder_the_command_finds_what_pytest_would(tmp_path, capsys, monkeypatch):
    fill(tmp_path)
    (tmp_path / "baselines").rename(tmp_path / "kept")
    ini = "[pytest]\nrepro_baselines = kept\nrepro_framework = numpy\n"
    (tmp_path / "pytest.ini").write_text(ini, encoding="utf-8")
    below = tmp_path / "tests" / "models"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert main(["list"]) == 0
    assert str(IMAGE) in capsys.readouterr().out
    assert main(["env"]) == 0
    assert "/numpy-" in capsys.readouterr().out
    # The command line wins over the ini file, as in a run.
    assert main(["list", "--baselines", "other"]) == 2
    assert f"there is no folder {tmp_path / 'other'}" in capsys.readouterr().err
    assert main(["list", "--root", "."]) == 2
    assert f"there is no folder {below / 'baselines'}" in capsys.readouterr().err
    (tmp_path / "pytest.ini").write_text(ini.replace("numpy", "jax"), encoding="utf-8")
    assert main(["env"]) == 2
    assert "'jax' is not one of auto, mindspore, numpy, torch" in capsys.readouterr().err


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_changes_neither_code_nor_stderr(tmp_path, unbuffered):
    fill(tmp_path)
    (tmp_path / "baselines" / "notes.txt").write_text("x")
    process = subprocess.Popen(
        [*COMMAND, "verify", "--root", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**ENVIRONMENT, "PYTHONUNBUFFERED": unbuffered},
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 1


def test_looking_imports_neither_pytest_nor_mindspore():
    program = (
        "import sys; from pytest_repro.cli import main; main(['list']); "
        "print(sorted({'pytest', 'mindspore', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def _on_terminal(root, *arguments, **variables):
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--root", str(root)],
        stdout=terminal,
        stderr=terminal,
        env={**ENVIRONMENT, "TERM": "xterm-256color", "COLUMNS": "100", **variables},
    )
    os.close(terminal)
    text = b""
    while True:
        try:
            chunk = os.read(controller, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not chunk:
            break
        text += chunk
    os.close(controller)
    assert process.wait() == 0
    return text.decode()


def test_a_terminal_gets_a_table_that_fits_and_a_pipe_gets_all_of_it(tmp_path, capsys):
    fill(tmp_path)
    wide = _on_terminal(tmp_path, "list", COLUMNS="200")
    assert str(LATENTS) in wide
    narrow = _on_terminal(tmp_path, "list", COLUMNS="50")
    assert str(LATENTS) not in narrow
    rows = narrow.partition("checks under")[0].splitlines()
    assert max(map(len, rows)) <= 50
    assert any(row.startswith("…") and "latents" in row for row in rows)
    assert run(tmp_path, "list") == 0
    assert str(LATENTS) in capsys.readouterr().out
    assert "0 faults" in _on_terminal(tmp_path, "verify")
