"""The life of baselines, step by step at random, beside a model that knows what is stored.

Two machines and a distant one record, compare, accept, move, prune and damage the baselines of four
tests, whose value, structure, noise, weights and settings change. After each step: no entry is
lost, a verdict that passes compared something, and every verdict is the one that the model expects.

``REPRO_MACHINE_STEPS=20000`` runs as many steps; CI runs a few hundred.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from pytest_repro.checking.accept import accept, candidates_of
from pytest_repro.checking.context import RunContext
from pytest_repro.checking.evaluation import Ending, evaluate
from pytest_repro.checking.recording import Writing
from pytest_repro.checking.references import References
from pytest_repro.checking.spec import make_spec
from pytest_repro.checking.trial import first_trial, further_trial
from pytest_repro.checking.writer import Writer
from pytest_repro.environment.key import order_references
from pytest_repro.environment.observe import observe_environment
from pytest_repro.frameworks.framework import default_framework
from pytest_repro.model.baseline import Configuration, WeightsDigest
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.model.outcome import Claim
from pytest_repro.model.words import Distance, Verdict
from pytest_repro.settings import settings_from
from pytest_repro.store.prune import find_renamings, rename
from pytest_repro.store.store import Store
from pytest_repro.tensors.record import digest_text
from pytest_repro.tolerance.policy import Policy

STEPS = int(os.environ.get("REPRO_MACHINE_STEPS", "200"))
_PER_EXAMPLE = 50
KEYS = tuple(
    EnvironmentKey(hardware, "numpy-2.4.6")
    for hardware in (
        "cpu-x86_64-avx2-2c-l2_512k",
        "cpu-x86_64-avx2-2c-l2_1024k",
        "cpu-x86_64-sse41-2c-l2_512k",
    )
)
SLOTS = (0, 1, 2, 3)
key_numbers, slots = st.sampled_from(range(len(KEYS))), st.sampled_from(SLOTS)


@dataclass(frozen=True)
class Code:
    """What one test computes now; `rounding` is far below the envelope, `scale` far above."""

    scale: int = 1
    rounding: int = 0
    leaves: int = 1
    draws: int = 1
    weights: int = 0
    beta: int = 0

    def inputs(self):
        return self.draws, self.weights

    def value(self):
        return self.scale, self.rounding, self.leaves


PARTS = ("scale", "rounding", "leaves", "draws", "weights", "beta")


def changed(code, what):
    if what == "rounding":
        return replace(code, rounding=1 - code.rounding)
    return replace(code, **{what: getattr(code, what) % 3 + 1})


class Watched:
    """A pipeline with weights and settings, in the place of one of MindSpore's."""

    is_watching = True

    def __init__(self, code):
        self._code = code

    def weights(self):
        return (WeightsDigest("unet", digest_text(f"weights {self._code.weights}")),)

    def configurations(self):
        return (Configuration("scheduler", "DDIM", (("beta", str(self._code.beta)),)),)

    def dtypes(self):
        return {"float32"}

    def trace(self):
        return None

    def weight_tensors(self):
        return ()

    def stop(self):
        pass


class Run:
    """One run of one machine, with what it needs of a pytest run."""

    environment = None

    def __init__(self, folder, key, **options):
        if Run.environment is None:
            Run.environment = observe_environment(
                framework="numpy", root=folder, extra={}, mindspore=default_framework(),
                variables={},
            )  # fmt: skip
        store = Store(folder, root=folder.parent)
        asked = {"framework": "numpy", "trace": "off", "envelope": "2", **options}
        self.context = RunContext(
            settings_from(asked, {}),
            key=key,
            environment=replace(Run.environment, key=key),
            store=store,
            references=References(store, key),
            framework=default_framework(),
            policy=Policy(),
        )
        self.writer = Writer(self.context)

    def make(self, module, test, code):
        """Evaluate one test; gives its outcome, or the exact call."""
        context = self.context
        spec = make_spec((module, test), {}, context.settings, marked=True)

        def body(trial):
            trial._watching = Watched(code)
            trial._weights = Watched(code).weights()
            noise = [trial.generator().standard_normal(8) for _ in range(code.draws)]
            moved = np.float32(code.scale) * (1 + code.rounding * np.float32(2e-7))
            image = noise[-1].astype(np.float32) * moved
            value = {f"leaf{number}": image + number for number in range(code.leaves)}
            trial.check(value, "image")
            return trial

        class Again:
            def announce(self, runs):
                pass

            def again(self, source, level):
                return body(further_trial(spec, context, source, level)), None

        first = body(first_trial(spec, context))
        if all(call.exact for call in first.calls.values()):
            return "exact"
        writing = Writing()
        ending = Ending()
        made = evaluate(first, Again(), context, ending, writing)
        self.writer.commit(writing)
        self.writer.flush()
        (outcome,) = made.outcomes
        return str(outcome.verdict)


class Life(RuleBasedStateMachine):
    """The rules; `stored` is the model: the code that was recorded, by key and test."""

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.folder = self.root / "baselines"
        self.code = dict.fromkeys(SLOTS, Code())
        self.names = {one: (f"test_{one // 2}.py", f"test_{one}") for one in SLOTS}
        self.stored: dict[tuple[EnvironmentKey, int], Code] = {}
        self.broken: dict[tuple[EnvironmentKey, str], tuple[bytes, bytes]] = {}
        self.moves = 0

    def teardown(self):
        shutil.rmtree(self.root)

    # --- what happens -----------------------------------------------------------------------

    @rule(key=key_numbers, slot=slots, mode=st.sampled_from(["missing", "drifted", "all"]))
    def record(self, key, slot, mode):
        key, place = KEYS[key], (KEYS[key], slot)
        verdict = Run(self.folder, key, update=mode).make(*self.names[slot], self.code[slot])
        before = self.stored.get(place)
        if (key, self.names[slot][0]) in self.broken:
            assert verdict == "corrupt", verdict
        elif before is None:
            assert verdict == "recorded", verdict
            self.stored[place] = self.code[slot]
        elif mode == "missing":
            assert verdict in self._expected(key, slot), verdict
        else:
            assert verdict in ("unchanged", "updated")
            assert before != self.code[slot] or mode == "all" or verdict == "unchanged"
            assert before == self.code[slot] or verdict == "updated"
            self.stored[place] = self.code[slot]

    @rule(key=key_numbers, slot=slots, reach=st.sampled_from(["own", "any"]))
    def compare(self, key, slot, reach):
        before = self._bytes()
        verdict = Run(self.folder, KEYS[key], reference=reach).make(
            *self.names[slot], self.code[slot]
        )
        assert verdict in self._expected(KEYS[key], slot, Distance(reach)), verdict
        assert self._bytes() == before

    def _expected(self, key, slot, reach=Distance.ANY):
        """The verdicts that are right for the code as it is now."""
        keys = [key] if reach is Distance.OWN else self._order(key)
        for near in keys:
            if (near, self.names[slot][0]) in self.broken:
                return {"corrupt"}
            if (near, slot) in self.stored:
                return self._against(self.stored[near, slot], self.code[slot], near == key)
        return {"missing"}

    def _order(self, key):
        present = [one for one in KEYS if (self.folder / one.hardware).is_dir()]
        return [near for near, _ in order_references(key, present, Distance.ANY)]

    def _against(self, stored, now, is_own):
        if stored.inputs() != now.inputs():
            return {"drift"}
        if stored.value() == now.value():
            return {"exact"}
        is_rounding = replace(stored, rounding=now.rounding, beta=now.beta) == now
        if is_own or not is_rounding or stored.beta != now.beta:
            return {"drift"}
        return {"within"}

    @rule(slot=slots, what=st.sampled_from(PARTS))
    def change(self, slot, what):
        self.code[slot] = changed(self.code[slot], what)

    @precondition(lambda self: self.stored)
    @rule(data=st.data(), what=st.sampled_from(["", *PARTS]), reach=st.sampled_from(["own", "any"]))
    def compare_with_one_change(self, data, what, reach):
        """Where one thing alone differs from what is stored, only its gate can notice."""
        key, slot = data.draw(st.sampled_from(sorted(self.stored)))
        stored = self.stored[key, slot]
        self.code[slot] = changed(stored, what) if what else stored
        self.compare(data.draw(key_numbers), slot, reach)

    @precondition(lambda self: self.stored and not self.broken)
    @rule(slot=slots)
    def move(self, slot):
        """A test gets another name, and its baselines follow under every key."""
        module, test = self.names[slot]
        self.moves += 1
        new = (f"moved/test_{self.moves}.py", f"{test}x")
        if not any((key, slot) in self.stored for key in KEYS):
            return
        store = Store(self.folder, root=self.root)
        old, named = f"{module}::{test}", "::".join(new)
        rename(store, find_renamings(store, store.keys(), old, named))
        self.names[slot] = new

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def prune(self, data):
        key, slot = data.draw(st.sampled_from(sorted(self.stored)))
        module, test = self.names[slot]
        if (key, module) in self.broken:
            return
        assert Store(self.folder, root=self.root).remove(key, module, [f"{test}::image"]) == 1
        del self.stored[key, slot]

    @rule(key=key_numbers, slot=slots)
    def accept_a_report(self, key, slot):
        key, observed = KEYS[key], self.root / "observed"
        module, test = self.names[slot]
        if (key, module) in self.broken:
            return
        made = Run(observed, key, update="drifted").make(module, test, self.code[slot])
        assert made == "recorded"
        source = Store(observed, root=self.root)
        target = Store(self.folder, root=self.root)
        claim = Claim(f"{module}::{test}::image", Verdict.DRIFT, str(key), 2)
        accept(source, target, candidates_of(source, target, [claim]))
        shutil.rmtree(observed)
        self.stored[key, slot] = self.code[slot]

    @precondition(lambda self: set(self._places()) - set(self.broken))
    @rule(data=st.data(), share=st.floats(0, 0.999))
    def truncate(self, data, share):
        place = data.draw(st.sampled_from(sorted(set(self._places()) - set(self.broken))))
        whole = self._path(place).read_bytes()
        self._break(place, whole, whole[: int(share * len(whole))])

    @precondition(lambda self: set(self._places()) - set(self.broken))
    @rule(data=st.data())
    def merge_wrongly(self, data):
        """The index of one branch and the blocks of the other."""
        place = data.draw(st.sampled_from(sorted(set(self._places()) - set(self.broken))))
        slot = next(one for key, one in self.stored if (key, self.names[one][0]) == place)
        whole, was = self._path(place).read_bytes(), self.stored[place[0], slot]
        other = replace(was, scale=was.scale + 10)
        assert Run(self.folder, place[0], update="all").make(*self.names[slot], other) == "updated"
        theirs = self._path(place).read_bytes()
        index, blocks = whole.split(b"\n---\n")[0], theirs.split(b"\n---\n")[1]
        self._break(place, whole, index + b"\n---\n" + blocks)

    def _break(self, place, whole, broken):
        self._path(place).write_bytes(broken)
        self.broken[place] = (whole, broken)

    @precondition(lambda self: self.broken)
    @rule()
    def restore(self):
        """``git checkout`` of every broken manifest."""
        for place, (whole, broken) in self.broken.items():
            assert self._path(place).read_bytes() == broken  # nothing wrote over it
            self._path(place).write_bytes(whole)
        self.broken = {}

    # --- what always holds --------------------------------------------------------------------

    @invariant()
    def no_entry_is_lost(self):
        for place in self._places():
            if place in self.broken:
                assert self._path(place).read_bytes() == self.broken[place][1]
                continue
            expected = {
                f"{self.names[slot][1]}::image"
                for key, slot in self.stored
                if (key, self.names[slot][0]) == place
            }
            assert set(Store(self.folder, root=self.root).index(*place)) == expected

    def _places(self):
        return {(key, self.names[slot][0]) for key, slot in self.stored}

    def _path(self, place):
        return Store(self.folder, root=self.root).manifest_path(*place)

    def _bytes(self):
        files = sorted(one for one in self.folder.rglob("*") if one.is_file())
        return [(str(one), one.read_bytes()) for one in files]


def run_life(machine=Life, steps=STEPS):
    run_machine(
        machine,
        settings=settings(
            max_examples=max(1, steps // _PER_EXAMPLE),
            stateful_step_count=_PER_EXAMPLE,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            print_blob=False,
            derandomize="REPRO_MACHINE_STEPS" not in os.environ,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_no_green_that_compared_nothing_and_no_lost_entry():
    run_life()


def test_the_control_a_gate_that_forgets_the_weights_is_found(monkeypatch):
    monkeypatch.setattr("pytest_repro.checking.judging.compare_weights", lambda *_, **__: ())
    with pytest.raises(AssertionError):
        run_life(steps=2000)


def test_the_control_a_write_that_forgets_the_other_entries_is_found(monkeypatch):
    real = Store._parse

    def forgetful(self, place, text):
        return {} if self.__dict__.get("_keys") is None else real(self, place, text)

    monkeypatch.setattr(Store, "_parse", forgetful)
    with pytest.raises(AssertionError):
        run_life(steps=2000)
