"""The environment of this process: facts from the host, Ascend, MindSpore and the project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_repro.adapters.ascend import ascend_facts
from pytest_repro.adapters.host import Host
from pytest_repro.adapters.mindspore import MindSporeAdapter
from pytest_repro.core.canary import noise_canary
from pytest_repro.core.environment import changes_bits, soc_key
from pytest_repro.core.errors import EnvironmentFault
from pytest_repro.core.model import Environment, EnvironmentKey, Fact

__all__ = ["observe_environment"]


def observe_environment(
    *,
    framework: str = "auto",
    root: Path,
    extra: Mapping[str, str] | None = None,
    host: Host | None = None,
    mindspore: MindSporeAdapter | None = None,
) -> Environment:
    """Every fact that can be seen, sorted by name, and the key.

    Args:
        framework: ``auto`` (MindSpore where installed), ``mindspore`` or ``numpy``.
        root: Folder of the code under test, for its git commit.
        extra: Facts of the project's own; names that pytest-repro uses are refused.
        host: For tests.
        mindspore: For tests.

    Raises:
        EnvironmentFault: MindSpore is asked for and absent, a fact is named twice, or the device
            says nothing usable of itself.
    """
    host = host or Host()
    mindspore = mindspore or MindSporeAdapter()
    facts = host.facts(root)
    facts.update({fact.name: fact.value for fact in noise_canary()})
    version = mindspore.version() if framework != "numpy" else ""
    if framework == "mindspore" and not version:
        raise EnvironmentFault(
            "the framework is set to mindspore, and mindspore is not installed",
            next_step="pip install 'pytest-repro[mindspore]'",
        )
    hardware = host.cpu_key()
    if version:
        # The environment is the one that repro tests run in, so the switch is on when it is read.
        mindspore.enable_determinism()
        facts.update(mindspore.facts())
        hardware = _hardware(host, mindspore, facts)
    key = EnvironmentKey(hardware, _framework_key(version, facts))
    return Environment(key, _sorted(_with_extra(facts, extra or {})))


def _hardware(host: Host, mindspore: MindSporeAdapter, facts: dict[str, str]) -> str:
    target, _ = mindspore.device()
    facts["mindspore.device"] = target
    if target == "ascend":
        facts.update(ascend_facts(host.environ))
        return soc_key(mindspore.soc_name())
    return host.cpu_key() if target == "cpu" else target


def _framework_key(mindspore_version: str, facts: Mapping[str, str]) -> str:
    if mindspore_version:
        return f"mindspore-{mindspore_version}"
    return f"numpy-{facts['numpy.version']}"


def _with_extra(facts: dict[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    for name, value in extra.items():
        if name in facts or not isinstance(name, str) or not isinstance(value, str):
            raise EnvironmentFault(
                f"the hook pytest_repro_environment gave the fact {name!r}: {value!r}",
                facts=("a fact has a name of its own and a text",),
            )
    return {**facts, **extra}


def _sorted(facts: Mapping[str, str]) -> tuple[Fact, ...]:
    return tuple(Fact(name, facts[name], changes_bits(name)) for name in sorted(facts))
