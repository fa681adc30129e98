"""More pipelines of a suite in mindone's form: latents, in PYNATIVE and in GRAPH mode.

Run by ``docs/measure/suites.py`` in a project of its own; nothing in it knows pytest-repro.
"""

import unittest

import mindspore as ms
import numpy as np
from ddt import data, ddt, unpack
from mindone import diffusers
from mindone.diffusers.pipelines.ddpm import pipeline_ddpm
from mindone.diffusers.pipelines.dit import pipeline_dit
from mindone.diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion
from mindone.diffusers.pipelines.stable_diffusion_xl import pipeline_stable_diffusion_xl

CASES = [{"mode": ms.PYNATIVE_MODE}, {"mode": ms.GRAPH_MODE}]
REPLACED = (pipeline_ddpm, pipeline_dit, pipeline_stable_diffusion, pipeline_stable_diffusion_xl)


def randn_tensor_of_the_suite(shape, generator=None, dtype=None):
    noise = generator.standard_normal(shape).astype(np.float32)
    return ms.Tensor(noise, dtype or ms.float32)


def filled(cell, seed):
    """The cell with weights from a seed, small enough that nothing saturates."""
    rng = np.random.default_rng(seed)
    for parameter in cell.get_parameters():
        array = rng.standard_normal(parameter.shape) * 0.1
        parameter.set_data(ms.Tensor(array.astype(np.float32)))
    return cell.set_train(False)


def embeddings(*shape):
    return ms.Tensor(np.random.default_rng(7).standard_normal(shape).astype(np.float32))


class SuiteCase(unittest.TestCase):
    scheduler = diffusers.DDIMScheduler

    @classmethod
    def setUpClass(cls):
        cls.kept = [module.randn_tensor for module in REPLACED]
        for module in REPLACED:
            module.randn_tensor = randn_tensor_of_the_suite

    @classmethod
    def tearDownClass(cls):
        for module, kept in zip(REPLACED, cls.kept, strict=True):
            module.randn_tensor = kept

    def get_dummy_inputs(self, seed=0):
        return {
            "generator": np.random.Generator(np.random.PCG64(seed)),
            "num_inference_steps": 2,
            "output_type": "np",
        }

    def get_vae(self):
        return filled(
            diffusers.AutoencoderKL(
                block_out_channels=(8, 16),
                down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
                up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
                latent_channels=4,
                norm_num_groups=4,
                sample_size=16,
            ),
            1,
        )

    def get_unet(self, **more):
        return filled(
            diffusers.UNet2DConditionModel(
                **{
                    "block_out_channels": (8, 16),
                    "layers_per_block": 1,
                    "sample_size": 8,
                    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
                    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
                    "cross_attention_dim": 16,
                    "attention_head_dim": 4,
                    "norm_num_groups": 4,
                    **more,
                }
            ),
            0,
        )

    def check(self, mode, make, **inputs):
        ms.set_context(mode=mode)
        pipe = make()
        pipe.set_progress_bar_config(disable=True)
        image = pipe(**self.get_dummy_inputs(), **inputs)[0]
        self.assertTrue(np.isfinite(image).all())
        self.assertGreater(image.std(), 1e-3)


@ddt
class DDPMPipelineFastTests(SuiteCase):
    def get_pipeline(self):
        unet = diffusers.UNet2DModel(
            sample_size=8,
            layers_per_block=1,
            block_out_channels=(4, 8),
            norm_num_groups=4,
            attention_head_dim=2,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        )
        return diffusers.DDPMPipeline(unet=filled(unet, 0), scheduler=diffusers.DDPMScheduler())

    @data(*CASES)
    @unpack
    def test_inference(self, mode):
        self.check(mode, self.get_pipeline)


@ddt
class StableDiffusionPipelineFastTests(SuiteCase):
    def get_pipeline(self):
        return diffusers.StableDiffusionPipeline(
            unet=self.get_unet(),
            scheduler=self.scheduler(clip_sample=False, set_alpha_to_one=False),
            vae=self.get_vae(),
            text_encoder=None,
            tokenizer=None,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    @data(*CASES)
    @unpack
    def test_inference(self, mode):
        self.check(
            mode,
            self.get_pipeline,
            prompt_embeds=embeddings(1, 4, 16),
            negative_prompt_embeds=embeddings(1, 4, 16) * 0,
        )


class StableDiffusionEulerFastTests(StableDiffusionPipelineFastTests):
    def get_pipeline(self):
        pipe = super().get_pipeline()
        pipe.scheduler = diffusers.EulerDiscreteScheduler.from_config(pipe.scheduler.config)
        return pipe


@ddt
class StableDiffusionXLPipelineFastTests(SuiteCase):
    def get_pipeline(self):
        unet = self.get_unet(
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            transformer_layers_per_block=(1, 2),
            projection_class_embeddings_input_dim=64,
            use_linear_projection=True,
        )
        return diffusers.StableDiffusionXLPipeline(
            unet=unet,
            scheduler=self.scheduler(clip_sample=False),
            vae=self.get_vae(),
            text_encoder=None,
            text_encoder_2=None,
            tokenizer=None,
            tokenizer_2=None,
        )

    @data(*CASES)
    @unpack
    def test_inference(self, mode):
        self.check(
            mode,
            self.get_pipeline,
            prompt_embeds=embeddings(1, 4, 16),
            negative_prompt_embeds=embeddings(1, 4, 16) * 0,
            pooled_prompt_embeds=embeddings(1, 16),
            negative_pooled_prompt_embeds=embeddings(1, 16) * 0,
        )


@ddt
class DiTPipelineFastTests(SuiteCase):
    def get_pipeline(self):
        transformer = diffusers.DiTTransformer2DModel(
            sample_size=8,
            num_layers=2,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=2,
            in_channels=4,
            out_channels=8,
            attention_bias=True,
            activation_fn="gelu-approximate",
            num_embeds_ada_norm=1000,
            norm_type="ada_norm_zero",
            norm_elementwise_affine=False,
        )
        return diffusers.DiTPipeline(
            transformer=filled(transformer, 0), vae=self.get_vae(), scheduler=self.scheduler()
        )

    @data(*CASES)
    @unpack
    def test_inference(self, mode):
        self.check(mode, self.get_pipeline, class_labels=[1])
