"""From images with conversations to batches; an image is decoded when its batch is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .chat import IGNORE, encode_conversation, render
from .config import Config, DataConfig
from .errors import DataError
from .image_chats import (
    Example,
    decode,
    example_key,
    group_key,
    read_examples,
    split_examples,
    to_record,
)
from .image_tokens import Batch, ImageTokens, image_token_id, model_inputs, spread
from .media_files import content_sha256_of_media
from .rows import content_sha256, count_shared

__all__ = [
    "TASK",
    "Batch",
    "Example",
    "example_key",
    "group_key",
    "read_examples",
    "split_examples",
    "to_record",
]

TASK = "multimodal"
THROUGHPUT = "tokens_per_s"


@dataclass
class Split:
    """Examples with their lengths in tokens, shape (N,), those of images included."""

    examples: list[Example]
    tokens: np.ndarray
    num_cut: int = 0
    num_dropped: int = 0
    num_rewritten: int = 0
    """Earlier answers that the chat template renders differently later on; they have no loss."""

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def num_rows(self) -> int:
        """Rows of the file."""
        return len(self.examples)

    def length(self, index: int) -> int:
        """Tokens of one row."""
        return int(self.tokens[index])

    def lengths(self) -> np.ndarray:
        """Tokens of each row, shape (N,)."""
        return self.tokens

    def mean_length(self) -> float:
        """Tokens of a row, on average."""
        return float(self.tokens.mean())

    def rows(self, indices: Sequence[int]) -> list[int]:
        """Lines of these examples in their file, for messages."""
        return [self.examples[i].row for i in indices]


@dataclass
class Dataset:
    """Everything training needs to know of the data."""

    train: Split
    eval: Split
    sha256: str
    processor: Any
    labels: tuple[str, ...] = ()  # a model that writes has no classes
    num_leaked: int = 0
    """Evaluation rows that are also training rows: they make the metrics look better."""

    def batch(
        self, split: Split, indices: Sequence[int], augment: tuple[int, int] | None = None
    ) -> Batch:
        """What the processor makes, padded on the right, and `labels` (B, L), int64.

        Nothing is augmented: what a question asks for could be cut off.
        """
        examples = [split.examples[i] for i in indices]
        images = [[decode(media, each.where) for media in each.images] for each in examples]
        texts = [render(self.processor, each.chat(), generate=False) for each in examples]
        batch = model_inputs(self.processor, texts, images)
        batch["labels"] = np.full_like(batch["input_ids"], IGNORE)
        for row, example in enumerate(examples):
            tokens, trained, _ = encode_conversation(example.chat(), self.processor, example.row)
            width = int(batch["attention_mask"][row].sum())
            ids = batch["input_ids"][row, :width]
            mask = spread(tokens, trained, ids, image_token_id(self.processor), example.where)
            batch["labels"][row, :width] = np.where(mask, ids, IGNORE)
        return batch

    def size(self, split: Split, indices: Sequence[int]) -> int:
        """What the throughput counts: tokens, without padding."""
        return sum(split.length(i) for i in indices)

    def summary(self) -> str:
        """What the model will see, in one line."""
        splits = (self.train, self.eval)
        cut, dropped = (sum(getattr(s, n) for s in splits) for n in ("num_cut", "num_dropped"))
        images = sum(len(example.images) for example in self.train.examples)
        rewritten = self.train.num_rewritten
        return (
            f"{len(self.train):,} training and {len(self.eval):,} evaluation rows, {images:,} "
            f"training images, {int(self.train.tokens.sum()):,} training tokens with those of "
            f"images; {cut:,} rows cut, {dropped:,} left out as too long"
            + (f"; {rewritten:,} earlier answers without loss (template)" if rewritten else "")
            + (f"; {self.num_leaked:,} evaluation rows also in training" if self.num_leaked else "")
        )


def num_targets(batch: Batch) -> int:
    """How many predictions the loss of this batch is a sum of."""
    return int((batch["labels"] != IGNORE).sum())


def sources(data: DataConfig) -> list[str]:
    """What the content hash is made of: the tables, and names and sizes of the images."""
    locations = [data.train, *([data.eval] if data.eval else [])]
    return [
        f"sha256:{content_sha256_of_media(location, data.image_column)}" for location in locations
    ]


def load_examples(config: Config) -> tuple[list[Example], list[Example]]:
    """Training and evaluation rows. Raises DataError when there are too few."""
    train = list(read_examples(config.data.train, config.data))
    if config.data.eval:
        return train, list(read_examples(config.data.eval, config.data, "validation"))
    train, held_out = split_examples(train, config.data.eval_fraction)
    if not held_out:
        raise DataError(
            f"{config.data.train}: too few different images to hold some out for evaluation; "
            "add rows or set data.eval"
        )
    return train, held_out


def texts(config: Config) -> Iterator[str]:
    """The training texts, for making a tokenizer."""
    for example in read_examples(config.data.train, config.data):
        yield from (part for _, parts in example.turns for part in parts if part is not None)


def load(config: Config, processor: Any) -> Dataset:
    """Read, check and measure; nothing but headers of images is decoded yet."""
    train, held_out = load_examples(config)
    return Dataset(
        train=_measured(train, processor, config),
        eval=_measured(held_out, processor, config),
        sha256=content_sha256(sources(config.data)),
        processor=processor,
        num_leaked=count_shared(map(example_key, train), map(example_key, held_out)),
    )


def load_eval(config: Config, processor: Any, model_config: object) -> Dataset:
    """Only the held-out rows, for a model that is trained."""
    if config.data.eval:
        held_out = list(read_examples(config.data.eval, config.data, "validation"))
    else:
        held_out = load_examples(config)[1]
    split = _measured(held_out, processor, config)
    return Dataset(split, split, content_sha256(sources(config.data)[-1:]), processor)


def _measured(examples: Sequence[Example], processor: Any, config: Config) -> Split:
    """Lengths of all rows; those that are too long are cut after the last answer that fits."""
    limit, counts = config.train.max_seq_len, ImageTokens(processor)
    kept: list[Example] = []
    lengths: list[int] = []
    split = Split(kept, np.zeros(0))
    for example in examples:
        tokens, _, turn_ends = encode_conversation(example.chat(), processor, example.row)
        if tokens.count(counts.token_id) != len(example.images):
            raise DataError(
                f"{example.where}: a text holds the model's own sign for an image; take it out"
            )
        ends = [*(end for _, end in turn_ends[:-1]), len(tokens)]
        sizes = [_expanded(tokens[:end], example, counts) for end in ends]
        fitting = sum(size <= limit for size in sizes)
        answers = sum(role == "assistant" for role, _ in example.turns)
        split.num_rewritten += answers - len(turn_ends)
        split.num_dropped += fitting == 0
        split.num_cut += 0 < fitting < len(sizes)
        if fitting:
            kept.append(example.cut(turn_ends[fitting - 1][0] + 1))
            lengths.append(sizes[fitting - 1])
    if not kept:
        raise DataError(
            f"all {len(examples):,} rows are longer than train.max_seq_len ({limit} tokens, those "
            "of images included) before their first answer ends; raise it"
        )
    split.tokens = np.asarray(lengths)
    return split


def _expanded(tokens: list[int], example: Example, counts: ImageTokens) -> int:
    """Tokens when each image's one placeholder has become all of its tokens."""
    shown = tokens.count(counts.token_id)
    return len(tokens) - shown + sum(counts.of(size) for size in example.sizes[:shown])
