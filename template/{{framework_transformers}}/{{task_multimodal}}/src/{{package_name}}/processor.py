"""What turns a row into the model's inputs: tokens of the text, pixels of the images."""

from __future__ import annotations

from typing import Any

from transformers import (
    AutoProcessor,
    CLIPImageProcessorPil,
    LlavaProcessor,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.utils import is_torchvision_available

from .config import SCRATCH, Config
from .data import texts
from .errors import ConfigError
from .pretrained import load
from .redaction import brief
from .vocabulary import make_tokenizer

PROCESSOR_CLASS = AutoProcessor
IMAGE_TOKEN = "<image>"
# ChatML, with a place for each image
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{{ '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

if not is_torchvision_available():
    # Without torchvision no video can be read, and a processor that could also take videos would
    # not load at all, although images need Pillow alone.
    _attributes = ProcessorMixin.get_attributes.__func__
    ProcessorMixin.get_attributes = classmethod(
        lambda cls: [name for name in _attributes(cls) if name != "video_processor"]
    )


def get_processor(config: Config) -> Any:
    """The model's processor; for `scratch` a small one with a tokenizer made from the data."""
    name = config.model.name_or_path
    if name == SCRATCH:
        return _small_processor(config)
    try:
        processor = load(PROCESSOR_CLASS, name, revision=config.model.revision)
    except (ImportError, TypeError) as error:
        reason = brief(error)
        if "video_processor" in reason:
            reason = "torchvision, for videos"
        raise ConfigError(
            f"model.name_or_path: the processor of {name} needs a package that is not installed "
            f"({reason}); install it, or choose another model"
        ) from None
    for needed in ("tokenizer", "image_processor", "image_token_id", "chat_template"):
        if getattr(processor, needed, None) is None:
            raise ConfigError(
                f"model.name_or_path: {name} has no {needed}, so it does not chat about images; "
                "choose a model that does"
            )
    if processor.tokenizer.pad_token_id is None:
        # padding never reaches the loss, so any token serves; eos stays trained (see chat.py)
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return processor


def _small_processor(config: Config) -> LlavaProcessor:
    """As LLaVA's (Liu et al. 2023): an image becomes one token for each patch."""
    size = config.model.scratch
    pixels = {"height": size.image_size, "width": size.image_size}
    tokenizer = make_tokenizer(
        texts(config), size.vocab_size, config.train.max_seq_len, special=(IMAGE_TOKEN,)
    )
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size=pixels, do_center_crop=False),
        tokenizer=tokenizer,
        patch_size=size.patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # CLIP's class token, which the strategy leaves out
        chat_template=CHAT_TEMPLATE,
        image_token=IMAGE_TOKEN,
    )


def check_limits(model: PreTrainedModel, processor: Any, length: int) -> None:
    """Refuse what the model has no embedding for: positions beyond its last, tokens it lacks."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if positions and length > positions:
        raise ConfigError(
            f"train.max_seq_len ({length}) is longer than the model's {positions} positions; "
            "lower it"
        )
    known = model.get_input_embeddings().num_embeddings
    if len(processor.tokenizer) > known:
        raise ConfigError(
            f"model.name_or_path: the tokenizer has {len(processor.tokenizer)} tokens and the "
            f"model {known}; the folder mixes two models"
        )
