"""Loading and saving in the Hugging Face layout: tokenizers, models, adapters."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging

from . import finetuning, hub
from .config import SCRATCH, Config
from .data import texts
from .errors import ConfigError, UserError
from .rows import local_path
from .tokens import make_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logging.disable_progress_bar()  # ours is the only bar


def get_tokenizer(config: Config) -> PreTrainedTokenizerBase:
    """The model's tokenizer; for `scratch` one made from the training data."""
    model = config.model
    if model.name_or_path == SCRATCH:
        tokenizer = make_tokenizer(
            texts(config), model.scratch.vocab_size, config.train.max_seq_len
        )
    else:
        tokenizer = load(AutoTokenizer, model.name_or_path, revision=model.revision)
    if tokenizer.pad_token_id is None:
        # padding never reaches the loss, so any token serves; eos stays trained (see data.py)
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load(auto_class: Any, name_or_path: str, **options: Any) -> Any:
    """`auto_class.from_pretrained`, with errors a user can act on.

    Reads safetensors only (a pickle can run code) and runs no code from the hub.
    """
    directory = local_path(name_or_path)
    local = directory is not None and directory.is_dir()
    if not local and (Path(name_or_path).is_absolute() or name_or_path.startswith((".", "~"))):
        raise ConfigError(f"model.name_or_path: there is no folder {name_or_path}; check the path")
    if auto_class is not AutoTokenizer and auto_class is not AutoConfig:
        options["use_safetensors"] = True
    if not local:
        hub.refuse_placeholder_token()
        options["local_files_only"] = not hub.is_reachable()  # the cache may have it
    try:
        return auto_class.from_pretrained(
            str(directory) if local else name_or_path, trust_remote_code=False, **options
        )
    except (
        *(OSError, ValueError, KeyError, RuntimeError),
        *(SafetensorError, StrictDataclassError),
    ) as error:
        reason = " ".join(str(error).split())[:200]
        if local:
            raise ConfigError(f"{name_or_path} cannot be loaded as a model: {reason}") from None
        raise ConfigError(
            f"model.name_or_path: {name_or_path} is no local folder and "
            + (
                f"the hub did not give it; check the spelling, or HF_TOKEN if gated ({reason})"
                if hub.is_reachable()
                else "the hub cannot be reached and the cache does not have it; check the network, "
                "or name a local folder"
            )
        ) from None


def load_whole(auto_class: Any, path: Path, **options: Any) -> Any:
    """Like `load`; raises UserError where weights are missing, which would be made up."""
    model, info = load(auto_class, str(path), output_loading_info=True, **options)
    missing = sorted(info["missing_keys"])
    if missing:
        raise UserError(
            f"{path} lacks {len(missing)} of the model's weights, such as {missing[0]}; "
            "copy the folder again, or export it anew"
        )
    return model


def load_trained(auto_class: Any, path: Path, **options: Any) -> PreTrainedModel:
    """Load what training or export wrote to the folder `path`.

    Raises UserError where it is not such a folder.
    """
    if not (path / "config.json").is_file():
        raise ConfigError(
            f"{path} holds no trained model (no config.json); train first, or name a "
            "`final` folder such as models/run/final"
        )
    model_config = load(AutoConfig, str(path))
    return finetuning.load_weights(auto_class, path, config=model_config, **options)


def check_limits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, length: int) -> None:
    """Refuse what the model has no embedding for: positions beyond its last, tokens it lacks."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions and length > positions:
        raise ConfigError(
            f"train.max_seq_len ({length}) is longer than the model's {positions} positions; "
            "lower it"
        )
    known = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > known:
        raise ConfigError(
            f"model.name_or_path: the tokenizer has {len(tokenizer)} tokens and the model "
            f"{known}; the folder mixes two models, or its tokenizer lacks a token the model knows"
        )


def save_trained(model: Any, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Write weights (or adapters) as safetensors, config and tokenizer to the folder `path`."""
    try:
        finetuning.save_weights(model, path)
    except SafetensorError as error:  # how the library reports a full disk
        raise OSError(str(error)) from error
    # adapters are saved without the config, which holds the class names
    model.config.save_pretrained(path)
    tokenizer.save_pretrained(path)


def pick_device(name: str = "auto") -> torch.device:
    """`auto`: CUDA (NVIDIA or ROCm), then Apple's MPS, then CPU."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def identity(path: Path) -> tuple[str, str]:
    """Name and version of a trained model: its run, and a hash of its weights."""
    folder = path.resolve()
    name = folder.parent.name if folder.name in {"final", "export"} else folder.name
    digest = hashlib.sha256()
    for weights in sorted(folder.glob("*.safetensors")):
        with weights.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return name, digest.hexdigest()[:12]
