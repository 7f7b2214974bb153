"""Which parameters are trained: all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .settings import Section

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from .config import ModelConfig

STRATEGY = "full"


class FinetuningOptions(Section):
    """Keys of the section `model` that full fine-tuning adds: none."""

    needs_pretrained: ClassVar[bool] = False


def wrap(model: PreTrainedModel, options: ModelConfig, head: list[str]) -> PreTrainedModel:
    """Return the model as it is: every parameter is trained in fp32.

    `head` names the freshly initialised modules; it matters to adapters only.
    """
    return model.float()


def load_weights(auto_class: Any, path: Path, **options: Any) -> PreTrainedModel:
    """Load the weights in the folder `path`."""
    from .pretrained import load_whole

    return load_whole(auto_class, path, **options)


def save_weights(model: PreTrainedModel, path: Path) -> None:
    """Write the weights as safetensors to the folder `path`."""
    model.save_pretrained(path)


def merged(model: PreTrainedModel) -> PreTrainedModel:
    """The model as it is: there are no adapters to fold in."""
    return model
