"""mindone's pipelines judged by diffusers' on PyTorch: correct ports pass, faults are named."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

import diffusers.utils.torch_utils  # noqa: E402
import numpy as np  # noqa: E402

from pytest_repro.checking.parity import pair_weights, parameter_digests  # noqa: E402
from pytest_repro.frameworks.torch import shared_noise  # noqa: E402
from pytest_repro.frameworks.watch import watch  # noqa: E402
from pytest_repro.noise.generator import NoiseBook  # noqa: E402
from tests.parity.ports import MINDSPORE, TORCH, ddim, eps, offset, transposed, unclip  # noqa: E402

FAMILIES = {"ddim": ddim, "unclip": unclip}


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request):
    return FAMILIES[request.param]()


@pytest.mark.repro(seed=0)
def test_a_correct_port_agrees_in_its_result_and_every_step(pair, repro_check):
    found = repro_check.parity(*pair.makers(2), name="image", pipelines=(pair.ours, pair.theirs))
    assert found.verdict == "within"
    assert found.step is None
    assert found.bounds is not None
    assert (found.weights.differing, found.weights.ours_only, found.weights.theirs_only) == (
        (),
    ) * 3
    assert found.weights.equal > 100


@pytest.mark.parametrize("fault", [eps, transposed, offset], ids=lambda fault: fault.__name__)
def test_a_fault_of_the_port_is_found(fault):
    faulty = ddim()
    with fault(faulty):
        found, _ = faulty.judge(2)
    assert not found.passes


def test_a_transposed_weight_is_named():
    pair = ddim()
    sides = (pair.ours, MINDSPORE), (pair.theirs, TORCH)
    watches = [watch(part, framework=framework) for part, framework in sides]
    with transposed(pair):
        ours, theirs = map(parameter_digests, watches)
    (named,) = pair_weights(ours, theirs).differing
    assert named.endswith(".mid_block.attentions.0.to_q.weight")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(2, 3, 4)])
def test_both_sides_draw_the_same_bits(dtype, shape):
    import mindspore
    from mindone.diffusers.utils.mindspore_utils import randn_tensor

    theirs = diffusers.utils.torch_utils

    def pair_of(count):
        one, two = NoiseBook(), NoiseBook()
        generators = [[book.generator(seed) for seed in range(count)] for book in (one, two)]
        given = [g if count > 1 else g[0] for g in generators]
        mine = randn_tensor(shape, generator=given[0], dtype=getattr(mindspore, dtype))
        other = theirs.randn_tensor(shape, generator=given[1], dtype=getattr(torch, dtype))
        assert one.draw_log() == two.draw_log()
        return MINDSPORE.to_numpy(mine), TORCH.to_numpy(other)

    plain = theirs.randn_tensor
    with shared_noise():
        for count in (1, shape[0]):
            mine, other = pair_of(count)
            assert mine.dtype.name == other.dtype.name == dtype
            assert np.array_equal(mine.view(np.uint8), other.view(np.uint8))
        with pytest.raises(AttributeError):
            plain(shape, generator=NoiseBook().generator(0))
        drawn = theirs.randn_tensor(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn, torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    assert theirs.randn_tensor is plain
