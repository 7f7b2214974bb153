"""From labelled media files to batches; each file is decoded when its batch is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import media
from .config import Config, DataConfig
from .errors import DataError
from .labelled_files import (
    Example,
    content_hash,
    count_leaked,
    example_key,
    group_key,
    read_examples,
    split_examples,
    to_record,
    unusable,
)
from .media import TASK, Batch
from .rows import content_sha256

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

THROUGHPUT = "samples_per_s"


@dataclass
class Split:
    """Examples with their class ids, shape (N,)."""

    examples: list[Example]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def num_rows(self) -> int:
        """Rows of the file."""
        return len(self)

    def length(self, index: int) -> int:
        """One sample: all are of one size for the model."""
        return 1

    def lengths(self) -> np.ndarray:
        """One sample each, shape (N,)."""
        return np.ones(len(self), dtype=np.int64)

    def mean_length(self) -> float:
        """One sample."""
        return 1.0

    def rows(self, indices: Sequence[int]) -> list[str]:
        """Rows or paths of these examples, for messages."""
        return [self.examples[i].row for i in indices]


@dataclass
class Dataset:
    """Everything training needs to know of the data."""

    train: Split
    eval: Split
    labels: list[str]
    sha256: str
    processor: Any
    config: Config
    num_leaked: int = 0
    """Evaluation files that are also training files: they make the metrics look better."""

    def batch(
        self, split: Split, indices: Sequence[int], augment: tuple[int, int] | None = None
    ) -> Batch:
        """What `media.to_inputs` makes, and `labels` (B,), int64.

        `augment` is (seed, step) in training: what is random is a function of these and the row,
        so a run that goes on from a checkpoint sees what it would have seen.
        """
        samples = (self._sample(split.examples[i], i, augment) for i in indices)
        try:
            inputs = media.to_inputs(samples, self.processor)
        except ValueError as error:
            rows = ", ".join(split.rows(indices)[:20])
            raise DataError(f"rows {rows}: the model's processor refuses them: {error}") from None
        return {**inputs, "labels": split.labels[np.asarray(indices)]}

    def _sample(self, example: Example, index: int, augment: tuple[int, int] | None) -> np.ndarray:
        try:
            with example.open() as file:
                sample = media.decode(file, self.processor)
        except (OSError, ValueError) as error:
            raise unusable(example, error) from None
        if augment:
            rng = np.random.default_rng((*augment, index))
            sample = media.augment(sample, rng, self.processor, self.config)
        return sample

    def size(self, split: Split, indices: Sequence[int]) -> int:
        """What the throughput counts: samples."""
        return len(indices)

    def summary(self) -> str:
        """What the model will see, in one line."""
        return (
            f"{len(self.train):,} training and {len(self.eval):,} evaluation {media.KIND} files "
            f"in {len(self.labels)} classes"
            + (f"; {self.num_leaked:,} of the latter also in training" if self.num_leaked else "")
            + media.fit_note([each.seconds for each in self._examples()], self.processor)
        )

    def _examples(self) -> list[Example]:
        return [*self.train.examples, *self.eval.examples]


def num_targets(batch: Batch) -> int:
    """How many predictions the loss of this batch is a sum of."""
    return len(batch["labels"])


def sources(data: DataConfig) -> list[str]:
    """What the content hash is made of: see `labelled_files.content_hash`."""
    locations = [data.train, *([data.eval] if data.eval else [])]
    return [f"sha256:{content_hash(location, data)}" for location in locations]


def load_examples(config: Config) -> tuple[list[Example], list[Example]]:
    """Training and evaluation examples. Raises DataError when they cannot be learnt from."""
    train = list(read_examples(config.data.train, config.data))
    if config.data.eval:
        held_out = list(read_examples(config.data.eval, config.data, "validation"))
    else:
        train, held_out = split_examples(train, config.data.eval_fraction)
    counts = Counter(example.label for example in train)
    if len(counts) < 2:
        only = f"only the class `{next(iter(counts))}`" if counts else "no row"
        raise DataError(f"{config.data.train}: {only} to train on; a classifier needs two classes")
    if not held_out:
        raise DataError(
            f"{config.data.train}: too few different files of a class to hold some out for "
            "evaluation; add files or set data.eval"
        )
    return train, held_out


def load(config: Config, processor: Any) -> Dataset:
    """Read and check; nothing but headers is decoded yet."""
    train, held_out = load_examples(config)
    labels = sorted({example.label for example in train})
    return Dataset(
        train=_split(train, labels),
        eval=_split(held_out, labels),
        labels=labels,
        sha256=content_sha256(sources(config.data)),
        processor=processor,
        config=config,
        num_leaked=count_leaked(train, held_out) if config.data.eval else 0,
    )


def load_eval(config: Config, processor: Any, model_config: Any) -> Dataset:
    """Only the held-out files, for a model that is trained and whose classes are known."""
    labels = [model_config.id2label[i] for i in range(model_config.num_labels)]
    if config.data.eval:
        held_out = list(read_examples(config.data.eval, config.data, "validation"))
    else:
        held_out = load_examples(config)[1]
    split = _split(held_out, labels)
    return Dataset(
        train=split,
        eval=split,
        labels=labels,
        sha256=content_sha256(sources(config.data)[-1:]),
        processor=processor,
        config=config,
    )


def _split(examples: list[Example], labels: Sequence[str]) -> Split:
    ids = {label: i for i, label in enumerate(labels)}
    for example in examples:
        if example.label not in ids:
            known = ", ".join(f"`{label}`" for label in labels[:20])
            raise DataError(
                f"{example.where}: class `{example.label}` never occurs in training ({known}); "
                "add training files of it or drop this one"
            )
    return Split(examples, np.asarray([ids[example.label] for example in examples]))
