"""What models that write text share: the loss of the next token, stop tokens, generating."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import torch
import torch.nn.functional as F
from transformers import GenerationConfig

from .chat import IGNORE, end_of_turn, tokenizer_in
from .errors import ConfigError


class Output(TypedDict):
    """The answer, why it ended (`stop` or `length`), and the tokens it took."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


def next_token_loss(logits_BLV: torch.Tensor, labels_BL: torch.Tensor) -> torch.Tensor:
    """Sum of the cross-entropy over the targets (nats); logits at t predict the label at t + 1."""
    # the labels move, not the logits: those are the largest tensor of the step
    next_labels = F.pad(labels_BL[:, 1:], (0, 1), value=IGNORE)
    return F.cross_entropy(
        logits_BLV.flatten(0, 1).float(),
        next_labels.flatten(),
        ignore_index=IGNORE,
        reduction="sum",
    )


def predictions(logits_BLV: torch.Tensor) -> torch.Tensor:
    """The likeliest token at each place, (B, L): entry t is guessed from those before t.

    Entry 0 is never a target. Takes the likeliest tokens of `chunked_loss` too.
    """
    guesses_BL = logits_BLV.argmax(dim=-1) if logits_BLV.ndim == 3 else logits_BLV
    return F.pad(guesses_BL[:, :-1], (1, 0), value=IGNORE)


def refuse_missing(model: Any, name: str) -> None:
    """Raise ConfigError for a checkpoint without all weights of a model that writes."""
    if model.missing_weights:
        raise ConfigError(
            f"model.name_or_path: {name} lacks {len(model.missing_weights)} weights of a "
            f"{type(model).__name__}, such as {model.missing_weights[0]}; name a model that was "
            "trained to write text"
        )


def stop_where_answers_end(model: Any, renderer: Any) -> None:
    """Add the end-of-turn token that is trained to the model's own stop tokens.

    They are saved with the model, so that it stops without this project's code too.
    """
    configured = model.generation_config.eos_token_id
    known = configured if isinstance(configured, list) else [configured]
    stops = {token for token in (*known, end_of_turn(renderer)) if token is not None}
    if stops:
        model.generation_config.eos_token_id = sorted(stops)


def stop_ids(model: Any, renderer: Any) -> list[int]:
    """End tokens of the tokenizer, the chat template and the model; all may differ."""
    ids = {tokenizer_in(renderer).eos_token_id, end_of_turn(renderer)}
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids.update(configured if isinstance(configured, list) else [configured])
    return sorted(token for token in ids if token is not None)


def generation_options(
    stops: list[int], pad_token_id: int, max_new_tokens: int
) -> GenerationConfig:
    """How text is generated; it takes the likeliest tokens, and `sampling.Draws` the drawn ones."""
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        repetition_penalty=1.0,  # or the model's own default would count
        eos_token_id=stops,
        pad_token_id=pad_token_id,
    )


def output(
    ids: list[int], stops: list[int], tokenizer: Any, prompt_tokens: int, stop: Sequence[str] = ()
) -> Output:
    """What was generated after a prompt, up to the first stop token or text of `stop`."""
    end = next((i for i, token in enumerate(ids) if token in stops), None)
    answer = ids if end is None else ids[:end]
    text = tokenizer.decode(answer, skip_special_tokens=True)
    cut = min((place for each in stop if (place := text.find(each)) >= 0), default=None)
    while cut is not None and answer[-1] == tokenizer.pad_token_id:  # while other rows went on
        answer = answer[:-1]
    return {
        "text": text[:cut],
        "finish_reason": "length" if end is None and cut is None else "stop",
        "prompt_tokens": prompt_tokens,
        "completion_tokens": len(answer),
    }


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bf16 at full speed."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
