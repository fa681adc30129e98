"""Compositions against float64, when they are installed, and what the key says of them."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pytest_repro.environment.facts import complete_key
from pytest_repro.environment.key import distance
from pytest_repro.errors import UsageError
from pytest_repro.frameworks import mint
from pytest_repro.frameworks.mindspore import MindSporeAdapter
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.model.words import Distance
from tests.frameworks.mint_cases import CASES, ROUNDED, measure

ROOT = Path(__file__).parents[2]
needs_mindspore = pytest.mark.skipif(find_spec("mindspore") is None, reason="needs MindSpore")
PLAIN = EnvironmentKey("cpu-x86_64-avx2-2c-l2_512k", "mindspore-2.10.0")


@pytest.fixture(scope="module")
def compositions():
    return {one.name: one for one in mint.compositions()}


def replacement_of(one):
    return one.sites[0][2]


@needs_mindspore
def test_every_composition_has_a_reference(compositions):
    assert set(compositions) - {"randn"} == set(CASES)


@needs_mindspore
@pytest.mark.parametrize(
    ("name", "number"), [(name, i) for name, cases in CASES.items() for i in range(len(cases))]
)
def test_a_composition_computes_what_float64_does(compositions, name, number):
    case = CASES[name][number]
    assert measure(case, replacement_of(compositions[name])) <= case.bound


WRONG = {
    "arange": lambda start, end=None, step=1: mint.arange(start, end, step) + 1,
    "linspace": lambda a, b, n: mint.linspace(a, b, n) * 1.000001,
    "pad": lambda x, pad: mint.pad(x, pad, value=1e-6),
    "repeat_interleave": lambda x, n, dim=None: mint.repeat(
        x, *(n if i == dim else 1 for i in range(x.ndim))
    ),
    "embedding": lambda i, w: mint.embedding((i + 1) % 5, w),
    "baddbmm": lambda x, a, b: mint.baddbmm(x, a, b, beta=1.0001),
    "gelu": lambda x, approximate="none": mint.gelu(
        x, approximate="none" if approximate == "tanh" else "tanh"
    ),
    "layer_norm": lambda x, shape, w=None, b=None, eps=1e-5: mint.layer_norm(
        x, shape, w, b, eps + 1e-5
    ),
    "conv2d": lambda x, w, *rest: mint.convolution(x, w.swapaxes(-1, -2), *rest),
    "avg_pool2d": lambda x, size: mint.avg_pool2d(x.swapaxes(-1, -2), size),
    "interpolate": lambda x, size=None, **named: mint.interpolate(
        x, size, **{**named, "align_corners": not named.get("align_corners")}
    ),
    "flash_attention": lambda heads, keep_prob=1.0, scale_value=1.0, **named: mint.FlashAttention(
        heads, keep_prob, scale_value * 1.0001, **named
    ),
}


@needs_mindspore
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_composition_is_found(name):
    case = CASES[name][0]
    assert measure(case, WRONG[name]) > max(case.bound, ROUNDED)


def run_python(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]


CELLS = """
import mindspore as ms, numpy as np
from mindspore import mint
before = mint.arange, mint.exp
from pytest_repro import compose_mint
from pytest_repro.frameworks.mindspore import ADAPTER
names = compose_mint()
assert names == compose_mint() == ADAPTER.composed and list(names) == sorted(set(names))
assert "arange" in names and "exp" not in names
assert mint.arange is not before[0] and mint.exp is before[1]
x = ms.Tensor(np.random.default_rng(0).standard_normal((2, 4, 8, 8)).astype(np.float32))
nn = mint.nn
cells = nn.Conv2d(4, 3, 3, padding=1), nn.LayerNorm(8), nn.GELU(), nn.AvgPool2d(2)
cells += nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"), nn.Conv2d(4, 3, 1, bias=False)
assert all(np.isfinite(cell(x).asnumpy()).all() for cell in cells)
assert nn.Embedding(5, 4)(mint.arange(3)).shape == (3, 4)
assert nn.Conv3d(4, 4, 3, padding=1)(x.reshape(1, 4, 2, 8, 8)).shape == (1, 4, 2, 8, 8)
assert nn.functional.interpolate(x, scale_factor=2.0, mode="nearest").shape == (2, 4, 16, 16)
assert mint.randn(2, 3).shape == mint.randn((2, 3)).shape == (2, 3)
print("mindspore.mint_cpu" in dict(ADAPTER.facts()))
"""


@needs_mindspore
def test_missing_operators_are_replaced_and_native_ones_stay():
    assert run_python(CELLS) == "True"


GRAPH = """
import mindspore as ms, numpy as np
from pytest_repro import compose_mint
compose_mint()
nn, pad = ms.mint.nn, ms.mint.nn.functional.pad
class Padded(ms.nn.Cell):
    def construct(self, x):
        return pad(x, (0, 1, 2, 3))
x = ms.Tensor(np.random.default_rng(0).standard_normal((2, 4, 8, 8)).astype(np.float32))
video = x.reshape(1, 4, 2, 8, 8)
cells = nn.Conv2d(4, 3, 3, padding=1), nn.LayerNorm(8), nn.GELU(), nn.AvgPool2d(2), Padded()
pairs = [*((cell, x) for cell in cells), (nn.Conv3d(4, 4, 3, padding=1), video)]
pairs.append((nn.Embedding(5, 4), ms.Tensor([1, 2])))
before = [cell(one).asnumpy() for cell, one in pairs]
ms.set_context(mode=ms.GRAPH_MODE)
after = [cell(one).asnumpy() for cell, one in pairs]
print(all(map(np.array_equal, before, after)))
"""


@needs_mindspore
def test_graph_mode_compiles_compositions_of_cells(tmp_path):
    # MindSpore reads the source of a cell.
    (tmp_path / "graph.py").write_text(GRAPH, encoding="utf-8")
    assert run_python(f"import runpy; runpy.run_path({str(tmp_path / 'graph.py')!r})") == "True"


PROBED = """
from pytest_repro.frameworks.mindspore import ADAPTER
from pytest_repro.frameworks.mint import compositions, runs
ADAPTER.enable_determinism()
probed = [[one.name for one in order if not runs(one.probe)]
          for order in (compositions(), compositions()[::-1]) * 2]
print(len({tuple(sorted(names)) for names in probed}))
"""


@needs_mindspore
def test_an_operator_is_not_blamed_for_one_that_failed_before_it():
    assert run_python(PROBED) == "1"


@needs_mindspore
def test_nothing_is_replaced_unless_asked_for():
    code = "from pytest_repro.frameworks.mindspore import ADAPTER as a; print(dict(a.facts()))"
    assert "mint_cpu" not in run_python(code)


def test_operators_that_fell_back_give_the_key_a_suffix():
    facts = [("mindspore.mint_cpu", "1: arange gelu")]
    found = complete_key(PLAIN, facts)
    assert distance(PLAIN, found) is Distance.VARIANT
    assert complete_key(PLAIN, [("mindspore.mint_cpu", "1: arange")]) not in (found, PLAIN)
    assert complete_key(PLAIN, []) == PLAIN


STORY = """
import mindspore
import pytest

@pytest.mark.repro
def test_a(repro_generator, repro_check):
    noise = mindspore.Tensor(repro_generator.standard_normal(64).astype("float32"))
    repro_check(GELU(noise), name="a")
"""


def pytest_in(folder, *arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout


@needs_mindspore
def test_a_baseline_of_a_run_that_fell_back_is_never_own_for_one_that_did_not(tmp_path):
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nrepro_mint_cpu = on\nrepro_isolate = off\n", encoding="utf-8"
    )
    story = tmp_path / "test_a.py"
    story.write_text(STORY.replace("GELU", "mindspore.mint.nn.functional.gelu"), encoding="utf-8")
    assert "1 check: 1 recorded" in pytest_in(tmp_path, "--repro-update")
    assert "1 check: 1 exact\n" in pytest_in(tmp_path)
    without = pytest_in(tmp_path, "--repro-mint-cpu=off")
    assert "kernel GeluExt" in without or "Not found op" in without
    story.write_text(STORY.replace("GELU", "mindspore.ops.gelu"), encoding="utf-8")
    native = pytest_in(tmp_path, "--repro-mint-cpu=off")
    assert "(reference: variant; suffix " in native
    assert "mindspore.mint_cpu" in next(tmp_path.rglob("test_a.yaml")).read_text(encoding="utf-8")


class OnCpu(MindSporeAdapter):
    def installed(self):
        return True

    def device(self):
        return "CPU", 0


class OnAscend(OnCpu):
    def device(self):
        return "Ascend", 0


class Absent(OnCpu):
    def installed(self):
        return False


@pytest.mark.parametrize("adapter", [OnAscend(), Absent()])
def test_another_device_and_an_absent_mindspore_change_nothing(monkeypatch, adapter):
    monkeypatch.setattr(mint, "ADAPTER", adapter)
    monkeypatch.setattr(mint, "compositions", lambda: pytest.fail("it looked at operators"))
    assert mint.compose_mint() == ()


def test_mindone_that_is_imported_already_is_refused(monkeypatch):
    monkeypatch.setattr(mint, "ADAPTER", OnCpu())
    monkeypatch.setitem(sys.modules, "mindone", sys)
    with pytest.raises(UsageError, match="imported before"):
        mint.compose_mint()
