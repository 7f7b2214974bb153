"""From rows with a text and a class to padded batches."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .config import Config, DataConfig
from .errors import DataError
from .rows import Row, content_sha256, count_shared, hold_out, read_rows
from .tokens import TokenStore, TokenStoreBuilder, pad

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TASK = "text_classification"
THROUGHPUT = "samples_per_s"

Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class Example:
    """A valid row."""

    text: str
    label: str
    row: int


@dataclass
class Split:
    """Tokenised rows with their class ids, shape (N,)."""

    store: TokenStore
    labels: np.ndarray
    num_cut: int

    def __len__(self) -> int:
        return len(self.store)

    def length(self, index: int) -> int:
        """Tokens of one row."""
        return len(self.store.sequence(index)[0])

    def mean_length(self) -> float:
        """Tokens of a row, on average."""
        return float(self.store.lengths().mean())

    def rows(self, indices: Sequence[int]) -> list[int]:
        """Lines of these examples in their file, for messages."""
        return [int(self.store.rows[i]) for i in indices]


@dataclass
class Dataset:
    """Everything training needs to know of the data."""

    train: Split
    eval: Split
    labels: list[str]
    sha256: str
    pad_token_id: int
    num_leaked: int = 0
    """Evaluation texts that are also training texts: they make the metrics look better."""

    def batch(
        self, split: Split, indices: Sequence[int], augment: tuple[int, int] | None = None
    ) -> Batch:
        """`input_ids` and `attention_mask` (B, L), `labels` (B,), all int64; no augmentation."""
        sequences = [split.store.sequence(i)[0] for i in indices]
        return {
            "input_ids": pad(sequences, self.pad_token_id),
            "attention_mask": pad([np.ones_like(s) for s in sequences], 0),
            "labels": split.labels[np.asarray(indices)],
        }

    def size(self, split: Split, indices: Sequence[int]) -> int:
        """What the throughput counts: samples."""
        return len(indices)

    def summary(self) -> str:
        """What the model will see, in one line."""
        cut = self.train.num_cut + self.eval.num_cut
        return (
            f"{len(self.train):,} training and {len(self.eval):,} evaluation rows in "
            f"{len(self.labels)} classes; {cut:,} rows cut to max_seq_len"
            + (f"; {self.num_leaked:,} evaluation rows also in training" if self.num_leaked else "")
        )


def num_targets(batch: Batch) -> int:
    """How many predictions the loss of this batch is a sum of."""
    return len(batch["labels"])


def validate(row: Row, data: DataConfig) -> Example:
    """Check one row. Raises DataError naming file, line and column."""
    for column in (data.text_column, data.label_column):
        if column not in row.values:
            has = ", ".join(f"`{name}`" for name in row.values) or "none"
            raise DataError(
                f"{row.where}: no column `{column}` (it has {has}); "
                "rename it or set data.text_column and data.label_column"
            )
    text, label = row.values[data.text_column], row.values[data.label_column]
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{row.where}: `{data.text_column}` is empty or no text; mend or drop it")
    if isinstance(label, bool) or not isinstance(label, str | int) or not str(label).strip():
        raise DataError(
            f"{row.where}: `{data.label_column}` is empty or no class name; mend or drop the row"
        )
    return Example(text, str(label).strip(), row.number)


def read_examples(location: str, data: DataConfig, split: str = "train") -> Iterator[Example]:
    """Validated rows of one file, folder or hub split."""
    for row in read_rows(location, split):
        yield validate(row, data)


def example_key(example: Example) -> str:
    """What makes two rows the same row: the text, whatever its class."""
    return example.text


def to_record(example: Example, data: DataConfig) -> dict[str, Any]:
    """The row as prepare_data writes it."""
    return {data.text_column: example.text, data.label_column: example.label}


def split_examples(
    examples: Sequence[Example], fraction: float
) -> tuple[list[Example], list[Example]]:
    """Split off `fraction` for evaluation, class by class; equal texts stay together."""
    kept: list[Example] = []
    held_out: list[Example] = []
    by_label: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_label[example.label].append(example)
    for label in sorted(by_label):
        train, rest = hold_out(by_label[label], example_key, fraction)
        kept += train
        held_out += rest
    return kept, held_out


def sources(data: DataConfig) -> list[str]:
    """Where the data is from, for its content hash."""
    return [data.train, *([data.eval] if data.eval else [])]


def load_examples(config: Config) -> tuple[list[Example], list[Example]]:
    """Training and evaluation rows. Raises DataError when they cannot be learnt from."""
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
            f"{config.data.train}: too few different rows of a class to hold some out for "
            "evaluation; add rows or set data.eval"
        )
    return train, held_out


def texts(config: Config) -> Iterator[str]:
    """The training texts, for making a tokenizer."""
    return (example.text for example in read_examples(config.data.train, config.data))


def load(config: Config, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Read, validate and tokenise."""
    train, held_out = load_examples(config)
    labels = sorted({example.label for example in train})
    return Dataset(
        train=_tokenise(train, tokenizer, config, labels, config.data.train),
        eval=_tokenise(held_out, tokenizer, config, labels, sources(config.data)[-1]),
        labels=labels,
        sha256=content_sha256(sources(config.data)),
        num_leaked=count_shared(map(example_key, train), map(example_key, held_out)),
        pad_token_id=int(tokenizer.pad_token_id or 0),
    )


def load_eval(config: Config, tokenizer: PreTrainedTokenizerBase, model_config: Any) -> Dataset:
    """Only the held-out rows, for a model that is trained and whose classes are known."""
    labels = [model_config.id2label[i] for i in range(model_config.num_labels)]
    if config.data.eval:
        held_out = list(read_examples(config.data.eval, config.data, "validation"))
    else:
        held_out = load_examples(config)[1]
    split = _tokenise(held_out, tokenizer, config, labels, sources(config.data)[-1])
    return Dataset(
        train=split,
        eval=split,
        labels=labels,
        sha256=content_sha256(sources(config.data)[-1:]),
        pad_token_id=int(tokenizer.pad_token_id or 0),
    )


def _tokenise(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    config: Config,
    labels: Sequence[str],
    location: str,
) -> Split:
    ids = {label: i for i, label in enumerate(labels)}
    limit = config.train.max_seq_len
    builder = TokenStoreBuilder()
    num_cut = 0
    for example, tokens in zip(examples, _encode(tokenizer, examples), strict=True):
        if example.label not in ids:
            known = ", ".join(f"`{label}`" for label in labels[:20])
            raise DataError(
                f"{location}:{example.row}: class `{example.label}` never occurs in training "
                f"({known}); add training rows of it or drop this one"
            )
        if len(tokens) > limit:
            num_cut += 1
            # again, because cutting must keep the closing special token
            tokens = tokenizer(example.text, truncation=True, max_length=limit)["input_ids"]
        builder.add(tokens, True, example.row)
    return Split(builder.build(), np.asarray([ids[e.label] for e in examples]), num_cut)


def _encode(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], chunk: int = 1000
) -> Iterator[list[int]]:
    """Token ids of each text; in chunks, which the Rust tokenizer works on in parallel."""
    encode: Callable[..., dict[str, list[list[int]]]] = tokenizer
    for start in range(0, len(examples), chunk):
        part = [example.text for example in examples[start : start + chunk]]
        yield from encode(part, verbose=False)["input_ids"]
