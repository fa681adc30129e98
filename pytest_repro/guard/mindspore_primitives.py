"""The names of MindSpore's primitives that draw; imports no MindSpore."""

from __future__ import annotations

__all__ = ["DRAWING_PRIMITIVES"]

DRAWING_PRIMITIVES = (
    "Bernoulli",
    "BernoulliExt",
    "Dropout",
    "Dropout2D",
    "Dropout3D",
    "Dropout2dExt",
    "DropoutExt",
    "DropoutGenMask",
    "DropoutGenMaskExt",
    "FuncDropoutExt",
    "Gamma",
    "InplaceBernoulliScalar",
    "InplaceBernoulliTensor",
    "InplaceExponential",
    "InplaceNormal",
    "InplaceRandom",
    "InplaceUniform",
    "LogNormalReverse",
    "LogUniformCandidateSampler",
    "Multinomial",
    "MultinomialExt",
    "MultinomialWithReplacement",
    "NonDeterministicInts",
    "NormalFloatFloat",
    "NormalFloatTensor",
    "NormalTensorFloat",
    "NormalTensorTensor",
    "ParameterizedTruncatedNormal",
    "Poisson",
    "RandExt",
    "RandInt",
    "RandIntLike",
    "RandLikeExt",
    "Randn",
    "RandnLike",
    "RandomCategorical",
    "RandomChoiceWithMask",
    "RandomGamma",
    "RandomPoisson",
    "RandomShuffle",
    "RandpermExt",
    "RandpermV2",
    "StandardLaplace",
    "StandardNormal",
    "TruncatedNormal",
    "UniformCandidateSampler",
    "UniformExt",
    "UniformInt",
    "UniformReal",
    "Uniform",
)
"""Primitives that draw, of MindSpore 2.7.0 to 2.10.0; one that a release lacks is skipped.

The functions of ``mindspore.ops``, ``mint``, ``nn`` and ``numpy`` end in one of them, also when
they were imported by name; ``ms.get_rng_state()`` does not move for most of them.
"""
