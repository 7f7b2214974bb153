"""Which parameters are trained: all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

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
