"""A suite in the form of mindone's own: TestCase, ddt, replaced noise, tiny components, two modes.

Run by ``test_suite_mode.py`` in a project of its own; nothing in it knows pytest-repro.
"""

import random
import unittest

import mindspore as ms
import numpy as np
from ddt import data, ddt, unpack
from mindone import diffusers
from mindone.diffusers.pipelines.ddim import pipeline_ddim

CASES = [
    {"mode": ms.PYNATIVE_MODE, "dtype": "float32"},
    {"mode": ms.GRAPH_MODE, "dtype": "float32"},
]


def randn_tensor_of_the_suite(shape, generator=None, dtype=None):
    """What mindone's suites put in the place of `randn_tensor`: noise in float32, then cast."""
    noise = generator.standard_normal(shape).astype(np.float32)
    return ms.Tensor(noise, dtype or ms.float32)


class SuiteCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kept = pipeline_ddim.randn_tensor
        pipeline_ddim.randn_tensor = randn_tensor_of_the_suite

    @classmethod
    def tearDownClass(cls):
        pipeline_ddim.randn_tensor = cls.kept

    def get_dummy_components(self, beta_end=0.02):
        unet = diffusers.UNet2DModel(
            sample_size=8,
            layers_per_block=1,
            block_out_channels=(4,),
            add_attention=False,
            attention_head_dim=2,
            norm_num_groups=4,
            down_block_types=("AttnDownBlock2D",),
            up_block_types=("UpBlock2D",),
        )
        rng = np.random.default_rng(0)
        for parameter in unet.get_parameters():
            array = rng.standard_normal(parameter.shape) * 0.2
            parameter.set_data(ms.Tensor(array.astype(np.float32)))
        return {"unet": unet, "scheduler": diffusers.DDIMScheduler(beta_end=beta_end)}

    def get_dummy_inputs(self, seed=0):
        return {
            "batch_size": 1,
            "generator": np.random.Generator(np.random.PCG64(seed)),
            "num_inference_steps": 2,
            "output_type": "np",
        }


@ddt
class DDIMPipelineFastTests(SuiteCase):
    @data(*CASES)
    @unpack
    def test_inference(self, mode, dtype):
        ms.set_context(mode=mode)
        pipe = diffusers.DDIMPipeline(**self.get_dummy_components())
        pipe.set_progress_bar_config(disable=True)
        image = pipe(**self.get_dummy_inputs())[0]
        self.assertEqual(image.shape, (1, 8, 8, 3))
        self.assertEqual(image.dtype, np.dtype(dtype))
        self.assertLess(np.abs(image[0, -3:, -3:, -1]).max(), 1.01)

    def test_two_calls(self):
        pipe = diffusers.DDIMPipeline(**self.get_dummy_components())
        pipe.set_progress_bar_config(disable=True)
        first = pipe(**self.get_dummy_inputs())
        pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
        second = pipe(**self.get_dummy_inputs(seed=1), return_dict=True)
        self.assertFalse(np.array_equal(first[0], second.images))

    def test_save_load_knows_no_pipeline_call(self):
        components = self.get_dummy_components()
        self.assertEqual(components["scheduler"].config.beta_end, 0.02)
        self.assertEqual(random.Random(0).randint(0, 9), 6)
