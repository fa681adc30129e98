"""The commands for tensors in a dataset repository on the Hub: `push` and `pull`."""

from __future__ import annotations

import re

import click

from pytest_repro.cli.options import (
    UNREADABLE,
    Example,
    Place,
    check_option,
    command,
    key_option,
    with_place,
)
from pytest_repro.cli.output import Output
from pytest_repro.errors import ExitCode, UsageError
from pytest_repro.report.tables import count_text
from pytest_repro.store.remote import Pin, named_files, pull, push, read_pin, require_pin
from pytest_repro.store.select import select_keys
from pytest_repro.store.store import Store

_LISTED = 20


@command(
    "push",
    examples=(
        Example("pytest-repro push --repository me/baselines", "The first time: name the place."),
        Example("pytest-repro push", "Upload what is new, and pin the new commit."),
        Example("pytest-repro push --onto-newest", "Others pushed since: build on their commits."),
    ),
    exit_codes=((ExitCode.OK, "done, or nothing was new"), UNREADABLE),
)
@click.option(
    "--repository",
    metavar="OWNER/NAME",
    default="",
    help="An existing dataset repository on the Hub (default: the one in hub.yaml).",
)
@click.option(
    "--onto-newest",
    is_flag=True,
    help="Build on the newest commit of the repository also if hub.yaml pins an older one.",
)
@with_place
def push_(out: Output, place: Place, repository: str, onto_newest: bool) -> ExitCode:
    """Upload tensors and records to a repository on the Hub.

    Uploads those that manifests name and the pinned commit lacks, in one commit on top of it, and
    writes the new commit into hub.yaml in the folder of the baselines: commit that file to git
    together with the manifests. Makes a pull request where the token may not write. The token is
    the variable HF_TOKEN. Nothing is ever deleted or replaced there.
    """
    store = place.store()
    done = push(store, _pin(store, repository), onto_newest=onto_newest, track=out.track)
    if done.count:
        out.line(f"{count_text(done.count, 'file')} pushed, {done.size_bytes:,} bytes")
    else:
        out.line("nothing to push: the repository has every file that the manifests name")
    if done.made.pull_request:
        out.line(f"pull request: {done.made.pull_request}")
    out.line(f"{store.shown(store.pin_path)} pins {done.made.commit}")
    return ExitCode.OK


def _pin(store: Store, repository: str) -> Pin:
    if not repository:
        return require_pin(store)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise UsageError(f"--repository: {repository!r} is not OWNER/NAME")
    pin = read_pin(store)
    return pin if pin is not None and pin.repository == repository else Pin(repository)


@command(
    "pull",
    examples=(
        Example("pytest-repro pull", "Everything that the manifests name."),
        Example("pytest-repro pull --check ddim", "What some checks need."),
        Example("pytest-repro pull --key 'cpu-*'", "What some keys need."),
    ),
    exit_codes=(
        (ExitCode.OK, "every tensor is here"),
        (ExitCode.DIFFERENT, "the repository lacks a tensor; the others are here"),
        (ExitCode.BASELINE, "the Hub cannot be reached, or a file has the wrong content"),
    ),
)
@check_option
@key_option
@with_place
def pull_(out: Output, place: Place, check: str, key: str) -> ExitCode:
    """Fetch tensors and records from the Hub.

    Fetches what the manifests name and is not here yet, from the commit that hub.yaml pins, and
    verifies the digest of each file before it is written. After an interruption a second pull
    fetches the rest. The token of a private repository is the variable HF_TOKEN.
    """
    store = place.store()
    pin = require_pin(store)
    done = pull(store, pin, named_files(store, select_keys(store, key), check), out.track)
    out.line(f"{count_text(done.count, 'file')} fetched, {done.size_bytes:,} bytes")
    for name in done.lost[:_LISTED]:
        out.line(f"not in {pin.repository}@{pin.commit}: {name}")
    if len(done.lost) > _LISTED:
        out.line(f"and {count_text(len(done.lost) - _LISTED, 'more tensor')}")
    if done.lost:
        out.line("push from the machine that recorded them: pytest-repro push")
    return ExitCode.DIFFERENT if done.lost else ExitCode.OK
