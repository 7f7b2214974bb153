"""Loading and saving in the Hugging Face layout: processors, models, adapters."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig
from transformers.utils import logging
from transformers.utils.hub import resolve_revision

from . import finetuning, hub
from .checkpoints import check_model
from .config import SCRATCH
from .errors import ConfigError, UserError
from .redaction import redacted
from .rows import local_path

if TYPE_CHECKING:
    from .config import ModelConfig

logging.disable_progress_bar()  # ours is the only bar

CPU = torch.device("cpu")
# layers that a checkpoint made for another task lacks; adapters train them whole
HEAD_NAMES = (
    *("classifier", "score", "pre_classifier", "classification_head", "head", "projector"),
    "pooler",
)
# what a model is for, by the end of its architecture's name
KINDS = {
    "ForSequenceClassification": "text classification",
    "ForImageClassification": "image classification",
    "ForAudioClassification": "audio classification",
    "ForCausalLM": "text generation",
    "ForConditionalGeneration": "generation from a text or an image",
    "ForImageTextToText": "generation from images and text",
}
# an end of a name that also fits: those of sound, for one, are often named as those of text
ALSO = {
    "ForAudioClassification": {"ForSequenceClassification"},
    "ForCausalLM": {"ForConditionalGeneration"},
    "ForImageTextToText": {"ForConditionalGeneration", "ForCausalLM"},
}


def load(auto_class: Any, name_or_path: str, **options: Any) -> Any:
    """`auto_class.from_pretrained`, with errors a user can act on.

    Runs no code from the hub.
    """
    directory = local_path(name_or_path)
    local = directory is not None and directory.is_dir()
    if not local and (Path(name_or_path).is_absolute() or name_or_path.startswith((".", "~"))):
        raise ConfigError(f"model.name_or_path: there is no folder {name_or_path}; check the path")
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
        reason = textwrap.shorten(redacted(str(error)), 200, placeholder=" …")
        if reason.startswith("Unrecognized configuration class"):  # and a list of all there are
            reason = f"{auto_class.__name__} does not load models of its kind"
        if "trust_remote_code" in str(error):  # which is what the library advises
            raise ConfigError(
                f"{name_or_path} needs code of its own to be loaded, and this project never runs "
                "code that comes with a model; name one of a kind that Transformers has"
            ) from None
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


def base_commit(model: ModelConfig) -> str | None:
    """The commit that a model of the hub is at; None for others, and where it cannot be told."""
    if model.name_or_path == SCRATCH or local_path(model.name_or_path):
        return None
    hub.refuse_placeholder_token()
    offline = not hub.is_reachable()
    found = resolve_revision(model.name_or_path, model.revision, local_files_only=offline)
    return getattr(found, "resolved", None)


def load_model(auto_class: Any, name_or_path: str, **options: Any) -> Any:
    """Like `load`, for weights: from safetensors only, because a pickle can run code."""
    return load(auto_class, name_or_path, use_safetensors=True, **options)


def load_base(auto_class: Any, model: ModelConfig, dtype: torch.dtype, **options: Any) -> Any:
    """Load the pretrained model that is to be trained, as the strategy wants it.

    Its attribute `missing_weights` names those that the checkpoint lacks, or has for another
    number of classes: they are random.
    """
    options |= finetuning.base_options(model, dtype, pick_device())
    base, info = load_model(
        auto_class,
        model.name_or_path,
        revision=model.revision,
        output_loading_info=True,
        **options,
    )
    other_sizes = {name for name, *_ in info["mismatched_keys"]}
    base.missing_weights = sorted({*info["missing_keys"], *other_sizes})
    return base


def load_whole(auto_class: Any, path: Path, **options: Any) -> Any:
    """Like `load_model`, for a trained model.

    Raises UserError where weights are missing, which would be made up, or for another task's model.
    """
    check_kind(auto_class, path, options.get("config"))
    model, info = load_model(auto_class, str(path), output_loading_info=True, **options)
    missing = sorted(info["missing_keys"])
    if missing:
        raise UserError(
            f"{path} lacks {len(missing)} of the model's weights, such as {missing[0]}; "
            "copy the folder again, or export it anew"
        )
    return model


def check_kind(auto_class: Any, path: Path, model_config: Any) -> None:
    """Raise ConfigError for a model of another task; architectures of unknown names pass."""
    own = auto_class.__name__.removeprefix("AutoModel")
    for architecture in getattr(model_config, "architectures", None) or ():
        kind = next((kind for kind in KINDS if architecture.endswith(kind)), own)
        if kind not in {own, *ALSO.get(own, ())}:
            raise ConfigError(
                f"{path} holds a model for {KINDS[kind]} ({architecture}), and this project is "
                f"for {KINDS[own]}; name the folder of a model that it trained"
            )


def load_trained(
    auto_class: Any, path: Path, device: torch.device = CPU, *, dtype: torch.dtype
) -> Any:
    """Load what training or export wrote to the folder `path`, onto `device`.

    Raises UserError where it is not such a folder, or its files are not those that were written.
    """
    if not (path / "config.json").is_file():
        raise ConfigError(
            f"{path} holds no trained model (no config.json); train first, or name "
            + _newest_final(path)
        )
    check_model(path)
    model_config = load(AutoConfig, str(path))
    model: Any = finetuning.load_weights(auto_class, path, device, dtype, config=model_config)
    return model.to(device)


def _newest_final(refused: Path) -> str:
    """The trained model to name in place of `refused`."""
    found = [each.parent for each in Path("models").glob("*/final/config.json")]
    newest = max(found, key=lambda each: each.stat().st_mtime, default=None)
    if newest is None:
        return "the `final` folder of a run"
    return f"{newest}" + (f" (RUN={newest.parent} for make)" if refused.name == "final" else "")


def save_trained(model: Any, processor: Any, path: Path) -> None:
    """Write weights (or adapters) as safetensors, config and processor to the folder `path`."""
    try:
        finetuning.save_weights(model, path)
    except SafetensorError as error:  # how the library reports a full disk
        raise OSError(str(error)) from error
    # adapters are saved without the config, which holds the class names
    model.config.save_pretrained(path)
    processor.save_pretrained(path)


def pick_device(name: str = "auto") -> torch.device:
    """`auto`: CUDA (NVIDIA or ROCm), then Apple's MPS, then CPU."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
