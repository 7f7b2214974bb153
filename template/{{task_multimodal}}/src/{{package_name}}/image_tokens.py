"""What the model's processor makes of texts with images: how many tokens, and which are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .chat import tokenizer_in
from .errors import DataError

Batch = dict[str, np.ndarray]


@dataclass
class ImageTokens:
    """How many tokens an image becomes; it follows from its size alone."""

    processor: Any
    token_id: int = field(init=False)
    _known: dict[tuple[int, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.token_id = image_token_id(self.processor)

    def of(self, size: tuple[int, int]) -> int:
        """Tokens of an image of (width, height) pixels, with those that frame it."""
        if size not in self._known:
            blank = np.zeros((size[1], size[0], 3), np.uint8)
            text = tokenizer_in(self.processor).convert_ids_to_tokens(self.token_id)
            self._known[size] = model_inputs(self.processor, [text], [[blank]])["input_ids"].size
        return self._known[size]


def image_token_id(processor: Any) -> int:
    """The token that stands for an image in a text."""
    return int(processor.image_token_id)


def model_inputs(
    processor: Any,
    texts: Sequence[str],
    images: Sequence[Sequence[np.ndarray]],
    padding_side: str = "right",
) -> Batch:
    """Run the processor: `input_ids` and `attention_mask` (B, L), and what images become."""
    encoded = processor(
        text=list(texts),
        images=[list(each) for each in images],
        text_kwargs={
            "add_special_tokens": False,
            "padding": True,
            "padding_side": padding_side,
        },
        return_tensors="pt",
    )
    return {name: values.numpy() for name, values in encoded.items()}


def spread(
    tokens: Sequence[int], trained: Sequence[bool], ids: np.ndarray, image: int, where: str
) -> np.ndarray:
    """The loss mask of `tokens`, over `ids` in which images have become many tokens.

    `tokens` has one token for an image. What stands between two images is the same in both, so
    it is looked for in order; the last piece is where `ids` end.
    """
    mask = np.zeros(len(ids), dtype=bool)
    borders = [i for i, token in enumerate(tokens) if token == image]
    starts, ends = [0, *(i + 1 for i in borders)], [*borders, len(tokens)]
    at = 0
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        piece = np.asarray(tokens[start:end])
        if number == len(starts) - 1:
            found = len(ids) - len(piece)
        elif number == 0:
            found = 0
        else:
            # behind at least one token of the image before it
            found = at + int(np.argmax(ids[at:] == image))
            while not np.array_equal(ids[found : found + len(piece)], piece):
                found += 1
                if found + len(piece) > len(ids):
                    break
        if not np.array_equal(ids[found : found + len(piece)], piece):
            raise DataError(
                f"{where}: this model's processor changes the text around images, so the answer "
                "cannot be told from the prompt; use another model"
            )
        mask[found : found + len(piece)] = trained[start:end]
        at = found + len(piece)
    return mask
