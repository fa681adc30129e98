"""MindSpore: its facts, its determinism, its tensors and its global generators.

The only module that imports mindspore, and only inside functions.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

__all__ = ["MindSporeAdapter", "MindSporeState"]


@dataclass(frozen=True, slots=True)
class MindSporeState:
    """The global random state of MindSpore.

    Attributes:
        seed: The global seed; ``None`` where nobody set one.
        generator: State of the default generator, a uint8 tensor.
        dataset_seed: Seed of `mindspore.dataset`; ``None`` where it is not imported.
    """

    seed: int | None
    generator: Any
    dataset_seed: int | None


class MindSporeAdapter:
    """What pytest-repro asks of MindSpore; every answer is harmless where it is not installed."""

    @staticmethod
    def version() -> str:
        """The installed version without importing it; ``""`` when absent."""
        try:
            return version("mindspore")
        except PackageNotFoundError:
            return ""

    @staticmethod
    def device() -> tuple[str, int]:
        """Target in lower case (``cpu``, ``ascend``, ``gpu``) and the device's number."""
        import mindspore

        device = mindspore.get_current_device()
        return str(device.device_target).lower(), int(device.device_id)

    @staticmethod
    def soc_name() -> str:
        """The exact name of the Ascend SoC, e.g. ``Ascend910B1``; untested on a device."""
        import mindspore

        return str(mindspore.hal.get_device_name(0, "Ascend"))

    def facts(self) -> dict[str, str]:
        """Mode, jit level, the effective deterministic switch; on Ascend precision as well."""
        import mindspore

        facts = {
            "mindspore.mode": "PYNATIVE" if mindspore.get_context("mode") == 1 else "GRAPH",
            "mindspore.jit_level": str(mindspore.get_context("jit_level") or ""),
            "mindspore.deterministic": str(mindspore.get_context("deterministic")),
            "mindspore.dispatch_threads": _dispatch_threads(),
        }
        if self.device()[0] == "ascend":
            facts.update(_precision_facts())
        return facts

    @staticmethod
    def enable_determinism() -> None:
        """Switch deterministic kernels on, once in a process, before the first kernel.

        `mindspore.set_deterministic` raises at its second call, even with the same value, and CANN
        takes one state a thread at the first operator; so it is never switched back.
        """
        import mindspore

        if _is_configured() or mindspore.get_context("deterministic") == "ON":
            return
        try:
            mindspore.set_deterministic(True)
        except RuntimeError as error:
            if "repeatedly" not in str(error):
                raise

    @staticmethod
    def is_tensor(value: object) -> bool:
        """Whether ``value`` is a MindSpore tensor; imports nothing."""
        mindspore = sys.modules.get("mindspore")
        return mindspore is not None and isinstance(value, mindspore.Tensor)

    @staticmethod
    def to_numpy(tensor: Any) -> np.ndarray[Any, Any]:
        """The tensor's numbers bit for bit; bfloat16 as ml_dtypes' bfloat16."""
        import mindspore

        if tensor.dtype == mindspore.bfloat16:
            import ml_dtypes

            # Every bfloat16 is a float32, so the way there and back is exact but for NaN payloads.
            return np.asarray(tensor.float().asnumpy()).astype(ml_dtypes.bfloat16)
        return np.asarray(tensor.asnumpy())

    @staticmethod
    def save_state() -> MindSporeState | None:
        """The global random state; ``None`` while MindSpore is not imported."""
        mindspore = sys.modules.get("mindspore")
        if mindspore is None:
            return None
        config = _dataset_config()
        dataset_seed = None if config is None else config.get_seed()
        return MindSporeState(mindspore.get_seed(), mindspore.get_rng_state(), dataset_seed)

    @staticmethod
    def seed_globals(seed: int) -> None:
        """Seed MindSpore's global generators, if it is imported."""
        mindspore = sys.modules.get("mindspore")
        if mindspore is not None:
            mindspore.set_seed(seed)

    @staticmethod
    def restore_state(state: MindSporeState | None) -> None:
        """Give back what `save_state` returned."""
        mindspore = sys.modules.get("mindspore")
        if mindspore is None or state is None:
            return
        if state.seed is None:
            _forget_seed()
        else:
            mindspore.set_seed(state.seed)
        mindspore.set_rng_state(state.generator)
        config = _dataset_config()
        if config is not None and state.dataset_seed is not None:
            config.set_seed(state.dataset_seed)


def _forget_seed() -> None:
    """Undo the first `set_seed`: the public function takes numbers only, and ``None`` stood there."""
    module = sys.modules.get("mindspore.common.seed")
    if hasattr(module, "_GLOBAL_SEED"):
        module._GLOBAL_SEED = None  # type: ignore[union-attr]


def _dataset_config() -> Any:
    """`mindspore.dataset.config`, which `set_seed` seeds as well, if it is imported."""
    dataset = sys.modules.get("mindspore.dataset")
    return None if dataset is None else dataset.config


def _is_configured() -> bool:
    try:
        from mindspore._c_expression import DeviceManagerConf

        return bool(DeviceManagerConf.get_instance().is_deterministic_configured())
    except (ImportError, AttributeError):
        return False


def _dispatch_threads() -> str:
    try:
        from mindspore._c_expression import RuntimeConf

        return str(RuntimeConf.get_instance().get_dispatch_threads_num())
    except (ImportError, AttributeError):
        return ""


def _precision_facts() -> dict[str, str]:
    """What the Ascend part of the device context says; untested on a device."""
    import mindspore

    names = {
        "mindspore.conv_hf32": "conv_allow_hf32",
        "mindspore.matmul_hf32": "matmul_allow_hf32",
        "mindspore.precision_mode": "precision_mode",
    }
    context = mindspore.get_context("ascend_config") or {}
    return {fact: str(context.get(name, "")) for fact, name in names.items()}
