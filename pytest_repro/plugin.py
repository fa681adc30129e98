"""pytest's hooks, options, fixtures and marker, a few lines each; imports nothing heavy.

numpy, MindSpore, yaml, safetensors and huggingface_hub come in with the first repro test.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_repro.core.errors import CheckFailed, ReproError, UsageError
from pytest_repro.core.settings import TABLE, Settings, settings_from

if TYPE_CHECKING:
    from pytest_repro.active import ActiveTest
    from pytest_repro.core.generator import LedgerGenerator
    from pytest_repro.core.model import Environment
    from pytest_repro.reporting import Reporting
    from pytest_repro.session.run import Session

FIXTURES = frozenset(
    {
        "repro_check",
        "repro_generator",
        "repro_generators",
        "repro_watch",
        "repro_ddim",
        "repro_unclip",
        "repro_unclip_image_variation",
    }
)
_SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()
_SESSION: pytest.StashKey[Session] = pytest.StashKey()
_ACTIVE: pytest.StashKey[ActiveTest] = pytest.StashKey()
_LINES: pytest.StashKey[list[str]] = pytest.StashKey()
_ROWS: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()
_FAULTS: pytest.StashKey[list[str]] = pytest.StashKey()
_REPORTING: pytest.StashKey[Reporting] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("repro", "pytest-repro: determinism regression tests")
    for setting in TABLE:
        dest = f"repro_option_{setting.name}"
        if setting.flag_values:
            _add_flag(group, setting.option, setting.flag_values, dest, setting.help)
        else:
            shown = f" (default: {setting.default})" if setting.default else ""
            group.addoption(
                setting.option, dest=dest, metavar=setting.metavar, help=setting.help + shown
            )
        if setting.ini:
            parser.addini(setting.ini_key, setting.help, default="")


def _add_flag(group: Any, option: str, words: tuple[str, ...], dest: str, text: str) -> None:
    """Add a flag that may carry a word, ``--repro-update`` and ``--repro-update=all``.

    Each spelling is an option of its own: with ``nargs='?'`` argparse would take the path in
    ``pytest --repro-update tests/models`` for the word.
    """
    bare = "drifted" if "drifted" in words else words[0]
    group.addoption(option, dest=dest, action="store_const", const=bare, help=text)
    for word in words if len(words) > 1 else ():
        group.addoption(
            f"{option}={word}", dest=dest, action="store_const", const=word, help=f"`{word}` only."
        )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_repro import hooks

    pluginmanager.add_hookspecs(hooks)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "repro(seed=0, runs=2, tolerance=..., reference=..., trace=..., rng=..., reason=...): "
        "judge this test's checks against its baselines",
    )
    options = {one.name: config.getoption(f"repro_option_{one.name}") for one in TABLE}
    ini = {one.name: config.getini(one.ini_key) for one in TABLE if one.ini}
    try:
        config.stash[_SETTINGS] = settings_from(options, ini)
    except ReproError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[_ROWS] = []
    config.stash[_FAULTS] = []
    _configure_reporting(config)


def _configure_reporting(config: pytest.Config) -> None:
    settings = config.stash[_SETTINGS]
    if not settings.report and not settings.summary:
        return
    from pytest_repro.reporting import Reporting, settings_in_worker

    config.stash[_REPORTING] = reporting = Reporting(config, settings)
    config.stash[_SETTINGS] = settings_in_worker(
        config, replace(settings, report=str(reporting.folder or ""))
    )
    if not _is_worker(config) and not config.getoption("collectonly"):
        try:
            reporting.prepare()
        except ReproError as error:
            raise pytest.UsageError(str(error)) from None


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


@pytest.hookimpl(optionalhook=True)  # xdist's, which need not be installed
def pytest_configure_node(node: Any) -> None:
    if _REPORTING in node.config.stash:
        node.config.stash[_REPORTING].tell_worker(node)


def session_of(config: pytest.Config) -> Session:
    """The run's session, made at the first repro test; the heavy imports happen here."""
    if _SESSION not in config.stash:
        from pytest_repro.session.run import open_session

        facts = config.hook.pytest_repro_environment(config=config)
        config.stash[_SESSION] = open_session(
            config.stash[_SETTINGS], root=config.rootpath, extra_facts=facts
        )
    return config.stash[_SESSION]


def _is_marked(item: pytest.Item) -> bool:
    return item.get_closest_marker("repro") is not None


def _concerns(item: pytest.Item) -> bool:
    names = getattr(item, "fixturenames", ())
    return _is_marked(item) or not FIXTURES.isdisjoint(names)


# The innermost wrapper: before every fixture, but after the wrappers (logging's) whose teardown
# relies on their setup having run.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    if _concerns(item):
        try:
            item.stash[_ACTIVE] = _activate(item)
            item.stash[_ACTIVE].begin()
        except ReproError as error:
            raise _fault(item, error) from None
    return (yield)


def _activate(item: pytest.Item) -> ActiveTest:
    from pytest_repro.active import ActiveTest

    session = session_of(item.config)
    module, _, test = item.nodeid.partition("::")
    arguments: dict[str, object] = {}
    for mark in reversed(list(item.iter_markers("repro"))):
        if mark.args:
            raise UsageError(f"{item.nodeid}: the arguments of `repro` have names")
        arguments.update(mark.kwargs)
    return ActiveTest(session, session.spec(module, test, arguments, marked=_is_marked(item)))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    active = item.stash.get(_ACTIVE, None)
    if active is None:
        return (yield)
    from pytest_repro.rerun import item_failure

    failure: BaseException | None = None
    _equip(item, active)
    try:
        with active.body():
            yield
        failure = item_failure(item)
    except pytest.skip.Exception:
        raise
    except (Exception, pytest.fail.Exception) as error:
        failure = error
        raise
    finally:
        if not isinstance(sys.exc_info()[1], (pytest.skip.Exception, KeyboardInterrupt)):
            _judge(item, active, failure)
    return None


def _judge(item: pytest.Item, active: ActiveTest, failure: BaseException | None) -> None:
    from pytest_repro.report.failure import failure_text, nothing_checked
    from pytest_repro.rerun import run_again

    def again(one: ActiveTest, examination: Any) -> BaseException | None:
        def anew() -> None:
            one.end()
            one.begin(examination)

        def body() -> Any:
            # Only now does the instance exist that the body will run on.
            _equip(item, one)
            return one.body()

        return run_again(item, anew, body)

    try:
        active.judge(failure, again)
    except ReproError as error:
        raise _fault(item, error) from None
    item.user_properties.extend((f"repro {o.check.name}", str(o.verdict)) for o in active.outcomes)
    text = failure_text(active.outcomes)
    if failure is not None:
        for section in filter(None, (text, active.explain(failure))):
            item.add_report_section("call", "repro", section)
    elif text:
        raise _failed(text)
    elif active.spec.marked and not active.outcomes:
        active.idle = True
        raise _failed(nothing_checked(active.spec.place))


class _Failed(CheckFailed, pytest.fail.Exception):  # type: ignore[name-defined, misc]
    """A failed check that pytest shows as its text alone: no frame of the test explains it."""


# What the short summary shows before the first line of the text.
_Failed.__name__ = _Failed.__qualname__ = "CheckFailed"
_Failed.__module__ = "pytest_repro"


def _failed(text: str) -> _Failed:
    error = _Failed(text)
    error.msg, error.pytrace = text, False
    return error


def _fault(item: pytest.Item, error: ReproError) -> BaseException:
    """A fault that no line of the test explains, shown as its text alone."""
    text = str(error) if item.nodeid in error.what else f"{item.nodeid}: {error}"
    failure: BaseException = pytest.fail.Exception(text, pytrace=False)
    return failure


def _equip(item: pytest.Item, active: ActiveTest) -> None:
    """Give a marked ``unittest.TestCase`` what it cannot ask for: the fixtures as attributes."""
    import unittest

    instance = getattr(item, "instance", None)
    if isinstance(instance, unittest.TestCase):
        instance.repro_check = _check_of(active)  # type: ignore[attr-defined]
        instance.repro_generators = active.trial.generators  # type: ignore[attr-defined]
        instance.repro_generator = active.trial.generator()  # type: ignore[attr-defined]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    try:
        return (yield)
    finally:
        active = item.stash.get(_ACTIVE, None)
        if active is not None:
            active.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Generator[None, Any, Any]:
    report = yield
    active = item.stash.get(_ACTIVE, None)
    if active is not None and report.when == "call":
        from pytest_repro.report.rows import rows_from

        # An attribute of the report travels with it from an xdist worker to the controller.
        rows = rows_from(active.spec.place, active.idle, active.outcomes)
        report.repro = [row.plain() for row in rows]
        if _REPORTING in item.config.stash:
            from pytest_repro.reporting import entries_of_test

            report.repro_entries = entries_of_test(active)
        active.outcomes = active.artefacts = ()
    return report


def pytest_runtest_logreport(report: Any) -> None:
    rows = getattr(report, "repro", None)
    if rows is not None and _CONFIG:
        stash = _CONFIG[-1].stash
        stash[_ROWS].extend(rows)
        if _REPORTING in stash:
            stash[_REPORTING].take(report.repro_entries)


_CONFIG: list[pytest.Config] = []


def pytest_sessionstart(session: pytest.Session) -> None:
    # pytest_runtest_logreport has no config; nested runs (pytester) push and pop their own.
    _CONFIG.append(session.config)


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    config = session.config
    if _SESSION in config.stash:
        try:
            config.stash[_SESSION].flush()
        except ReproError as error:
            config.stash[_FAULTS].append(str(error))
    if hasattr(config, "workeroutput"):
        config.workeroutput["repro_faults"] = config.stash[_FAULTS]
    elif not config.getoption("collectonly"):
        _write_reports(config)
    if config.stash.get(_FAULTS, []) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    _CONFIG.pop()
    return (yield)


def _write_reports(config: pytest.Config) -> None:
    if _REPORTING not in config.stash:
        return
    from datetime import datetime, timezone

    idle = [row["check"] for row in config.stash[_ROWS] if not row["verdict"]]
    made_at = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        config.stash[_LINES] = config.stash[_REPORTING].write(idle, made_at)
    except ReproError as error:
        config.stash[_FAULTS].append(str(error))


@pytest.hookimpl(optionalhook=True)  # xdist's, which need not be installed
def pytest_testnodedown(node: Any, error: object) -> None:
    node.config.stash[_FAULTS].extend(getattr(node, "workeroutput", {}).get("repro_faults", []))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows, faults = config.stash[_ROWS], config.stash[_FAULTS]
    lines = config.stash.get(_LINES, [])
    if rows or faults or lines:
        from pytest_repro.report.rows import Row
        from pytest_repro.report.terminal import closing_lines

        terminalreporter.section("repro", sep="-")
        for fault in faults:
            terminalreporter.write_line(fault, red=True)
        for line in (*closing_lines([Row(**row) for row in rows]), *lines):
            terminalreporter.write_line(line)


def _active(request: pytest.FixtureRequest) -> ActiveTest:
    active: ActiveTest | None = request.node.stash.get(_ACTIVE, None)
    if active is None:
        raise UsageError(
            f"{request.node.nodeid}: a repro fixture was asked for while the test was running",
            next_step="mark the test with @pytest.mark.repro, or name the fixture as an argument",
        )
    return active


def _check_of(active: ActiveTest) -> Callable[..., None]:
    def repro_check(
        value: object,
        name: str | None = None,
        *,
        tolerance: object = None,
        reference: object = None,
    ) -> None:
        """Compare ``value`` with its baseline; judged when the test ends."""
        __tracebackhide__ = True
        caller = sys._getframe(1)  # noqa: SLF001
        try:
            active.trial.check(
                value,
                name,
                tolerance=tolerance,
                reference=reference,
                called_at=f"{caller.f_code.co_filename}:{caller.f_lineno}",
            )
        except ReproError as error:
            # The line of the test says it all; our own frames would bury the message.
            raise error.with_traceback(None) from None

    return repro_check


@pytest.fixture
def repro_check(request: pytest.FixtureRequest) -> Callable[..., None]:
    """The assertion: ``repro_check(value, name=None, *, tolerance=None, reference=None)``."""
    return _check_of(_active(request))


@pytest.fixture
def repro_generator(request: pytest.FixtureRequest) -> LedgerGenerator:
    """A fresh ``numpy.random.Generator`` on ``PCG64(seed)`` that keeps a ledger of its draws."""
    return _active(request).trial.generator()


@pytest.fixture
def repro_generators(request: pytest.FixtureRequest) -> Callable[..., list[LedgerGenerator]]:
    """``repro_generators(4)``: one generator an image, seeded ``seed, seed + 1, ...``."""
    return _active(request).trial.generators


@pytest.fixture
def repro_ddim(request: pytest.FixtureRequest) -> Any:
    """Mindone's DDIM pipeline in the ddpm-cifar10-32 architecture, from ``--repro-weights``."""
    return _active(request).pipeline("ddim")


@pytest.fixture
def repro_unclip(request: pytest.FixtureRequest) -> Any:
    """Mindone's UnCLIP pipeline from text, from ``--repro-weights``."""
    return _active(request).pipeline("unclip")


@pytest.fixture
def repro_unclip_image_variation(request: pytest.FixtureRequest) -> Any:
    """Mindone's UnCLIP image variation pipeline, from ``--repro-weights``."""
    return _active(request).pipeline("unclip_image_variation")


@pytest.fixture(scope="session")
def repro_environment(request: pytest.FixtureRequest) -> Environment:
    """Every fact that was seen about this machine, and its key."""
    return session_of(request.config).environment


@pytest.fixture
def repro_watch(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """``repro_watch(pipeline)``: record its weights and each denoising step; gives it back."""
    return _active(request).trial.watch
