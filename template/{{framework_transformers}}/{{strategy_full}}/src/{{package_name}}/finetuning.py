"""Which parameters are trained: all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .settings import Section

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from .config import ModelConfig

STRATEGY = "full"
READ_AGAIN_TOLERANCE = 1e-4  # of scores, when a model is read again


class FinetuningOptions(Section):
    """Keys of the section `model` that full fine-tuning adds: none."""

    needs_pretrained: ClassVar[bool] = False


def base_options(options: ModelConfig, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """How the model that is trained is loaded: in `dtype`."""
    return {"dtype": dtype}


def wrap(model: PreTrainedModel, options: ModelConfig, head: list[str]) -> PreTrainedModel:
    """Return the model as it is: every parameter is trained in fp32.

    `head` names the freshly initialised modules; it matters to adapters only.
    """
    return model.float()


def num_parameters(model: PreTrainedModel) -> int:
    """Weights of the model."""
    return sum(parameter.numel() for parameter in model.parameters())


def load_weights(
    auto_class: Any, path: Path, device: torch.device, dtype: torch.dtype, **options: Any
) -> Any:
    """Load the weights in the folder `path`."""
    from .pretrained import load_whole

    return load_whole(auto_class, path, dtype=dtype, **options)


def save_weights(model: PreTrainedModel, path: Path) -> None:
    """Write the weights as safetensors to the folder `path`."""
    model.save_pretrained(path)


def merged(model: PreTrainedModel) -> PreTrainedModel:
    """The model as it is: there are no adapters to fold in."""
    return model


def in_fp32(model: PreTrainedModel) -> PreTrainedModel:
    """The model, in place, with weights in fp32."""
    return model.float()
