"""Image i of a batch is the image made alone from generator i; what breaks that is named."""

from __future__ import annotations

SUITE = """
    def pipeline(generator, fault=0.0):
        generators = generator if isinstance(generator, list) else [generator]
        noise = np.concatenate([one.standard_normal((1, 3, 4)) for one in generators])
        image = np.tanh(noise).astype("float32")
        # Kernels round by the size of the batch: one ULP here.
        return np.nextafter(image, np.float32(9)) if len(generators) > 1 else image * (1 + fault)

    def proved(check, images, alone=pipeline, **arguments):
        check(images, name="image")
        return check.batch(images, alone, "image", **arguments)

    pytestmark = pytest.mark.repro(seed=7)

    def test_clean(repro_generators, repro_check):
        found = proved(repro_check, pipeline(repro_generators(4)))
        assert not found or [one.number for one in found] == [0, 1, 2, 3]
        assert all(0 < one.share < 1 and 0 < one.rel_l2 < 1e-6 and one.max_abs for one in found)

    def test_seeds(repro_generators, repro_check):
        proved(repro_check, pipeline(repro_generators(seeds=[5, 9])), seeds=[5, 9])

    def test_order(repro_generators, repro_check):
        proved(repro_check, pipeline(repro_generators(4)[::-1]))

    def test_shared(repro_generators, repro_check):
        first, _, third, fourth = repro_generators(4)
        proved(repro_check, pipeline([first, first, third, fourth]))

    def test_off_by_one(repro_generators, repro_check):
        proved(repro_check, pipeline(repro_generators(seeds=range(8, 12))))

    def test_together(repro_generator, repro_check):
        proved(repro_check, repro_generator.standard_normal((4, 3, 4)).astype("float32"))

    def test_gross(repro_generators, repro_check):
        images = pipeline(repro_generators(4))
        images[2] += np.roll(images[1], 1) * np.float32(1e-3)
        proved(repro_check, images)

    def test_fine(repro_generators, repro_check):
        # Passes the tolerance of the dtype, and not the envelope.
        proved(repro_check, pipeline(repro_generators(4)), lambda one: pipeline(one, 3e-6))

    def test_tolerance(repro_generators, repro_check):
        images = pipeline(repro_generators(4))
        proved(repro_check, images, lambda one: pipeline(one, 3e-6), tolerance={"rel_l2": 1e-5})
        repro_check.batch(images, pipeline, "image", tolerance="exact")

    def test_shape(repro_generators, repro_check):
        proved(repro_check, pipeline(repro_generators(4)), lambda one: pipeline(one)[0, 0])

    def test_misspelt(repro_generators, repro_check):
        images = pipeline(repro_generators(4))
        repro_check(images, name="image")
        repro_check.batch(images, pipeline, "imgae")

    def test_unchecked(repro_generators, repro_check):
        repro_check.batch(pipeline(repro_generators(4)), pipeline)
"""
NOISE = {
    "test_order": "image 0, draw 1 of 1: different bits: drawn in the batch from PCG64(10), "
    "alone from seed 7",
    "test_shared": "image 1, draw 1 of 1: drawn in the batch from the generator of image 0, "
    "PCG64(7); alone from seed 8",
    "test_off_by_one": "image 0, draw 1 of 1: different bits: drawn in the batch from PCG64(8), "
    "alone from seed 7",
    "test_together": "one generator drew (4, 3, 4) for all 4 images together",
}


def test_a_batch_is_proved_by_its_images(project):
    project.write(SUITE)
    recorded = project.run("--repro-update")
    misused = {"test_tolerance", "test_shape", "test_misspelt", "test_unchecked"}
    assert recorded.failures.keys() == {*NOISE, "test_gross", *misused}
    ran = project.run()
    assert ran.failures.keys() == {*recorded.failures, "test_fine"}, ran.text
    for test, words in NOISE.items():
        assert "(cause noise)" in ran.failures[test]
        assert words in ran.failures[test]
    for test, image in (("test_gross", 2), ("test_fine", 0)):
        assert "(cause code)" in ran.failures[test]
        assert "noise  bitwise equal for every image" in ran.failures[test]
        assert f"image {image}: rel_l2" in ran.failures[test]
    assert "measured envelope x 4" in ran.failures["test_fine"]
    assert "tolerance  exact, from repro_check.batch" in ran.failures["test_tolerance"]
    assert "image 0 made alone has another dtype or shape" in ran.failures["test_shape"]
    assert "checked so far: image" in ran.failures["test_misspelt"]
    assert "checked so far: nothing" in ran.failures["test_unchecked"]
    stored = project.manifest.read_text(encoding="utf-8")
    recorded_tests = {test for test in ("test_clean", "test_seeds", "test_fine", *NOISE)
                      if f"{test}::image" in stored}  # fmt: skip
    assert recorded_tests == {"test_clean", "test_seeds", "test_fine"}
