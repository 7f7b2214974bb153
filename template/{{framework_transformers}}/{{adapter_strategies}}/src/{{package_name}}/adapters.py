"""Low-rank adapters beside frozen weights (Hu et al. 2021): made, saved, loaded, merged."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from .errors import ConfigError, UserError
from .settings import Section

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from .config import ModelConfig

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

# PEFT still asks Transformers by an old name; nothing a user could change
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)


class LoraOptions(Section):
    """The adapters."""

    r: PositiveInt = 16
    """Rank of each adapter."""
    alpha: PositiveInt = 32
    """The adapter's output is scaled by alpha / r."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout on the adapter's input."""
    target_modules: str | list[str] = "all-linear"
    """Layers that get an adapter: `all-linear` or a list of module names."""


class AdapterOptions(Section):
    """Keys of the section `model` that adapters add."""

    needs_pretrained: ClassVar[bool] = True

    lora: LoraOptions = LoraOptions()
    """The adapters."""


def add_adapters(model: PreTrainedModel, options: ModelConfig, head: list[str]) -> Any:
    """Freeze the model and put fp32 adapters beside its linear layers.

    `head` names modules that are new (a classifier): they are trained whole and saved
    with the adapters.
    """
    from peft import LoraConfig, get_peft_model

    lora = options.lora
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        modules_to_save=head or None,
        revision=options.revision,
    )
    try:
        adapted = get_peft_model(model, config)
    except (ValueError, re.error) as error:
        raise ConfigError(_remedy(model, lora, str(error))) from None
    _keep_statistics(adapted)
    for parameter in adapted.parameters():
        if parameter.requires_grad:  # a new head too: updates are smaller than bf16 can hold
            parameter.data = parameter.data.float()
    return adapted


def _remedy(model: PreTrainedModel, lora: LoraOptions, reason: str) -> str:
    name = type(model).__name__
    if "lora_dropout" in reason:
        return f"model.lora.dropout: the experts of {name} take none; set it to 0"
    if "incompatible" in reason:  # Mamba computes with some of its layers' weights directly
        layers = re.findall(r"'(\w+)'", reason)[:1]
        return (
            f"model.lora.target_modules: {name} cannot have an adapter at {' '.join(layers)}; "
            f"{lora.target_modules} takes it in, so name the layers to adapt"
        )
    # convolutions alone, names it lacks, or no pattern
    return (
        f"model.lora.target_modules: {name} has no layer to adapt for {lora.target_modules}; "
        "name some of its own"
    )


def _keep_statistics(model: Any) -> None:
    """Let frozen batch norms use the statistics they came with, in training too.

    Otherwise training would change them, and they are not saved with the adapters.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

    for module in model.modules():
        frozen = not any(parameter.requires_grad for parameter in module.parameters())
        if isinstance(module, _BatchNorm) and frozen:
            module.register_forward_pre_hook(lambda norm, _: norm.eval() and None)


def num_parameters(model: Any) -> int:
    """Weights of the model and its adapters; two of 4 bits, which share a byte, count as two."""
    return int(model.get_nb_trainable_parameters()[1])


def has_adapters(path: Path) -> bool:
    """Whether the folder `path` holds adapters; otherwise they were merged into the weights."""
    return (path / ADAPTER_CONFIG).is_file()


def load_base_of(auto_class: Any, path: Path, **options: Any) -> PreTrainedModel:
    """Load the model for which the adapters in the folder `path` were made."""
    from transformers.utils import logging

    from .pretrained import load_model

    adapter = json.loads((path / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    name, revision = adapter["base_model_name_or_path"], adapter.get("revision")
    # a head of another size in the base is replaced by the one saved with the adapters
    options["ignore_mismatched_sizes"] = True
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # nor would it say so of a head that is not in use
    try:
        base: PreTrainedModel = load_model(auto_class, name, revision=revision, **options)
    finally:
        logging.set_verbosity(verbosity)
    return base


def attach(base: PreTrainedModel, path: Path) -> Any:
    """Put the adapters in the folder `path` on top of their base model."""
    from peft import PeftModel

    if not (path / ADAPTER_WEIGHTS).is_file():  # the library would take a pickle, or ask the hub
        raise UserError(f"{path} lacks {ADAPTER_WEIGHTS}; copy the folder again, or train anew")
    return PeftModel.from_pretrained(base, str(path))


def save_weights(model: Any, path: Path) -> None:
    """Write the adapters, or a merged model, to the folder `path`."""
    if hasattr(model, "merge_and_unload"):
        # left to itself PEFT asks the hub whether the vocabulary has grown
        model.save_pretrained(path, save_embedding_layers=False)
    else:
        model.save_pretrained(path)
    # PEFT adds an empty model card full of "[More Information Needed]"
    (path / "README.md").unlink(missing_ok=True)


def merged(model: Any) -> Any:
    """The model with its adapters folded into the weights; a plain model as it is."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
