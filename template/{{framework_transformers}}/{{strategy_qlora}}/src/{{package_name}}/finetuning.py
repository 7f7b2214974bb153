"""Which parameters are trained: adapters beside weights of 4 bits (QLoRA, Dettmers et al. 2023).

The adapters learn to work with the rounded weights. So wherever they are loaded, the base is
rounded to 4 bits in the same way; where 4 bits do not pay, they are then unfolded to the same
values in a plain dtype. A merged export holds those values plus the adapters.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from . import adapters
from .adapters import AdapterOptions, attach, has_adapters, load_base_of, merged, num_parameters
from .errors import ConfigError
from .settings import Section

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from .config import ModelConfig

__all__ = [
    "READ_AGAIN_TOLERANCE",
    "STRATEGY",
    "FinetuningOptions",
    "base_options",
    "in_fp32",
    "load_weights",
    "merged",
    "num_parameters",
    "save_weights",
    "wrap",
]

STRATEGY = "qlora"
# of scores, when a model is read again; a GPU and a CPU may round a weight's scale differently
READ_AGAIN_TOLERANCE = 1e-3
QUANTIZATION = "quantization.json"  # beside the adapters: how the base was rounded
OUTPUT_LAYERS = ("lm_head", "embed_out")  # their error would be the answer's error
NESTED_POOLER = r".*\.pooler"  # a head too; the names of heads match where a path begins or ends
READS_WEIGHTS = {"wavlm"}  # computes with the weights of layers without calling them

# that a faster kernel is missing for some CPUs, and in which dtype weights are unfolded
for _name in ("bitsandbytes.backends.cpu.ops", "transformers.integrations.bitsandbytes"):
    logging.getLogger(_name).setLevel(logging.ERROR)


class QuantizationOptions(Section):
    """How the frozen weights are rounded to 4 bits."""

    type: Literal["nf4", "fp4"] = "nf4"
    """nf4: 16 values spaced as normally distributed weights are. fp4: a float of 4 bits."""
    double: bool = True
    """Round the scale of each 64 weights too: 0.4 bits less for a weight."""


class FinetuningOptions(AdapterOptions):
    """Keys of the section `model` that QLoRA adds."""

    quantization: QuantizationOptions = QuantizationOptions()
    """How the frozen weights are rounded."""


def base_options(options: ModelConfig, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """How the model that is trained is loaded: rounded on `device`, a tensor at a time.

    Raises ConfigError for a device that cannot compute with 4 bits.
    """
    if device.type not in {"cuda", "cpu"}:
        raise ConfigError(
            f"QLoRA needs an NVIDIA or AMD GPU, or a CPU for a try, and this machine offers "
            f"{device.type}; train there, or answer `strategy` with lora (`copier update`)"
        )
    import bitsandbytes.nn.modules

    # on some CPUs an evaluation would repack the weights for a kernel that rounds more
    # and passes no gradient on, and training would go on with those
    bitsandbytes.nn.modules.has_avx512bf16 = lambda: False
    return _rounded(options.quantization, dtype, device)


def wrap(model: PreTrainedModel, options: ModelConfig, head: list[str]) -> Any:
    """Freeze the rounded model and put fp32 adapters beside its linear layers.

    `head` names modules that are new (a classifier): they are trained whole and saved
    with the adapters. Raises ConfigError for a model whose layers cannot be rounded.
    """
    from torch import nn

    layers = _layers(model)
    if model.config.model_type in READS_WEIGHTS:
        raise ConfigError(
            f"model.name_or_path: {type(model).__name__} reads the weights of its attention "
            "directly, which 4 bits do not allow; answer `strategy` with lora, or name another "
            "model"
        )
    # those of GPT-2 are rounded transposed, and an export could not put them back
    if not layers or any(layer.source_cls is not nn.Linear for layer in layers):
        raise ConfigError(
            f"model.name_or_path: {options.name_or_path} does not have the linear layers that "
            "QLoRA can round to 4 bits; answer `strategy` with lora, or name another model"
        )
    # what is saved are adapters, whose folder says in its own file how the base was rounded
    del model.config.quantization_config
    return adapters.add_adapters(model, options, head)


def load_weights(
    auto_class: Any, path: Path, device: torch.device, dtype: torch.dtype, **options: Any
) -> Any:
    """Load adapters on top of their rounded base, or a folder into which they were merged.

    On a GPU the base stays in 4 bits, so that it fits where it was trained, and computes in the
    dtype of training. Elsewhere it is unfolded: the same values in `dtype`, faster and larger.
    """
    import torch

    from .pretrained import load_whole

    if not has_adapters(path):
        return load_whole(auto_class, path, dtype=dtype, **options)
    place = device if device.type == "cuda" else torch.device("cpu")
    rounded = _rounded(*_read_quantization(path), place)
    base: Any = load_base_of(auto_class, path, **rounded, **options)
    if place.type == "cpu":
        base.dequantize(dtype)
    return attach(_cast(base, dtype), path)


def save_weights(model: Any, path: Path) -> None:
    """Write the adapters and how their base was rounded, or a merged model, to `path`."""
    adapters.save_weights(model, path)
    layers = _layers(model)
    if layers:
        state = layers[0].weight.quant_state
        values = {
            "type": state.quant_type,
            "double": state.nested,
            "dtype": str(state.dtype).removeprefix("torch."),
        }
        (path / QUANTIZATION).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def in_fp32(model: Any) -> Any:
    """The model, in place, with plain layers of the same values; all its weights in fp32."""
    import torch

    model.dequantize(torch.float32)
    return _cast(model, torch.float32)


def _rounded(
    quantization: QuantizationOptions, dtype: torch.dtype, device: torch.device
) -> dict[str, Any]:
    """Options of `from_pretrained`: linear layers in 4 bits on `device`, the rest in `dtype`."""
    from transformers import BitsAndBytesConfig

    from .pretrained import HEAD_NAMES

    return {
        "dtype": dtype,
        "device_map": {"": device},
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=quantization.type,
            bnb_4bit_use_double_quant=quantization.double,
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=[*HEAD_NAMES, *OUTPUT_LAYERS, NESTED_POOLER],
        ),
    }


def _read_quantization(path: Path) -> tuple[QuantizationOptions, torch.dtype]:
    """How the base of the adapters in `path` was rounded, and from which dtype."""
    import torch

    try:
        saved = json.loads((path / QUANTIZATION).read_text(encoding="utf-8"))
        quantization = QuantizationOptions(type=saved["type"], double=saved["double"])
        return quantization, getattr(torch, saved["dtype"])
    except (OSError, ValueError, KeyError, AttributeError):
        raise ConfigError(
            f"{path} lacks a whole {QUANTIZATION}, which says how its base model was rounded; "
            "copy the folder again, or train anew if these are adapters of LoRA"
        ) from None


def _layers(model: Any) -> list[Any]:
    """The layers whose weights are in 4 bits."""
    from bitsandbytes.nn import Linear4bit

    return [layer for layer in model.modules() if isinstance(layer, Linear4bit)]


def _cast(model: Any, dtype: torch.dtype) -> Any:
    """The model, in place, with every weight that is not in 4 bits in `dtype`."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)
    return model
