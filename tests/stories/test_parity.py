"""A port agrees with its original except for rounding; what breaks that is named."""

from __future__ import annotations

SUITE = """
    LAYERS = np.random.Generator(np.random.PCG64(1)).standard_normal((6, 32, 32)) / 6

    def network(generator, order=1, dtype="float32", eps=1e-6, faulty=None):
        value = generator.standard_normal((32, 32)).astype(dtype)
        for number, layer in enumerate(LAYERS.astype(dtype)):
            layer = layer.T if number == faulty else layer
            terms = (value[:, :, None] * layer[None])[:, ::order]  # another order of the same sum
            value = np.add.accumulate(terms, axis=1, dtype=dtype)[:, -1]
            value = value / np.sqrt((value * value).mean(1, keepdims=True) + dtype_of(dtype)(eps))
        return value

    def dtype_of(name):
        return np.dtype(name).type

    def ours(**fault):
        return lambda generator: network(generator, order=-1, **fault)

    pytestmark = pytest.mark.repro(seed=7)

    def test_exact(repro_check):
        found = repro_check.parity(network, network)
        assert (found.verdict, found.runs, found.leaves[0].judgement) == ("exact", 0, None)

    @pytest.mark.parametrize("dtype", ["float32", "float16"])
    def test_port(dtype, repro_check):
        theirs = lambda generator: network(generator, dtype=dtype)
        # 18 envelopes of float16 noise are too wide to prove anything here.
        tolerance = "measured" if dtype == "float16" else None
        found = repro_check.parity(ours(dtype=dtype), theirs, name="image", tolerance=tolerance)
        assert (found.verdict, found.computing_dtype) == ("within", dtype)
        assert found.runs >= 4
        assert 0 < found.leaves[0].share < 1 and found.leaves[0].ours > 0

    def test_beside_a_check(repro_generator, repro_check):
        repro_check(network(repro_generator), name="image")
        repro_check.parity(ours(), network, name="port")

    def test_eps(repro_check):
        repro_check.parity(ours(eps=1e-3), network, name="image")

    def test_transposed(repro_check):
        repro_check.parity(ours(faulty=3), network, name="image")

    def test_coarse(repro_check):
        coarse = lambda generator: network(generator, dtype="float16").astype("float32")
        repro_check.parity(coarse, network, name="image")

    def test_noise(repro_check):
        repro_check.parity(ours(), lambda _: network(np.random.Generator(np.random.PCG64(7))))

    def test_shape(repro_check):
        repro_check.parity(ours(), lambda generator: network(generator)[None])

    def test_values(repro_generator, repro_check):
        repro_check.parity(network(repro_generator), network)

    def test_shared(repro_shared_noise, repro_check):
        repro_check.parity(network, network)

    def test_tolerance(repro_check):
        repro_check.parity(ours(), network, tolerance="exact")
"""
ROUNDING = "'image': the port differs from the original by more than rounding"


def test_a_port_is_judged_by_its_original(project):
    project.write(SUITE)
    recorded = project.run("--repro-update")
    ran = project.run()
    named = {"eps", "transposed", "coarse", "noise", "shape", "values", "tolerance", "shared"}
    assert ran.failures.keys() == {f"test_{name}" for name in named}, ran.text
    assert recorded.failures.keys() == ran.failures.keys()
    for name in ("eps", "transposed", "coarse"):
        text = ran.failures[f"test_{name}"]
        assert ROUNDING in text
        for label in ("distance", "envelopes", "factor", "tolerance", "next"):
            assert f"  {label} " in text
        assert "4 runs of each, noise moved by one float32 ULP" in text
        assert "measured envelope x" in text
        assert "not compared: give pipelines=(ours, theirs)" in text
    assert "theirs drew nothing from the generator" in ran.failures["test_noise"]
    assert "shape (1, 32, 32) became (32, 32)" in ran.failures["test_shape"]
    assert "parity takes two functions of a generator" in ran.failures["test_values"]
    assert "exact, from repro_check.parity" in ran.failures["test_tolerance"]
    assert "import diffusers at the top of the test's file" in ran.failures["test_shared"]
    stored = project.manifest.read_text(encoding="utf-8")
    assert "::image" in stored
    assert "::port" not in stored  # parity stores nothing
