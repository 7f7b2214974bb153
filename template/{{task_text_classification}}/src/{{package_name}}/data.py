"""From rows with a text and a class to padded batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from . import rows
from .config import Config, DataConfig
from .errors import DataError
from .rows import BadRows, Row, checked, content_sha256, read_rows
from .splitting import content_key, held_out_by_class
from .token_cache import code_identity, tokenised, tokenizer_identity
from .tokens import Encoded, TokenRows, TokenStore, pad

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

    @property
    def num_rows(self) -> int:
        """Rows of the file."""
        return len(self)

    @cached_property
    def _lengths(self) -> np.ndarray:
        return self.store.lengths()

    def lengths(self) -> np.ndarray:
        """Tokens of each row, (N,) int64."""
        return self._lengths

    def length(self, index: int) -> int:
        """Tokens of one row."""
        return int(self._lengths[index])

    def mean_length(self) -> float:
        """Tokens of a row, on average."""
        return float(self._lengths.mean())

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


def read_examples(
    location: str, data: DataConfig, split: str = "train", bad: BadRows | None = None
) -> Iterator[Example]:
    """Validated rows of one file, folder or hub split.

    The bad rows are collected in `bad`, or named in one DataError at the end.
    """
    return checked(read_rows(location, split), lambda row: validate(row, data), bad)


def example_key(example: Example) -> str:
    """What makes two rows the same row: the text, whatever its class."""
    return example.text


group_key = example_key  # rows that must be on the same side when some are held out


def to_record(example: Example, data: DataConfig) -> dict[str, Any]:
    """The row as prepare_data writes it."""
    return {data.text_column: example.text, data.label_column: example.label}


def sources(data: DataConfig) -> list[str]:
    """Where the data is from, for its content hash."""
    return [data.train, *([data.eval] if data.eval else [])]


def load_examples(config: Config) -> tuple[list[Example], list[Example]]:
    """Training and evaluation rows, in memory. Raises DataError when they teach nothing."""
    train = list(read_examples(config.data.train, config.data))
    names = sorted({example.label for example in train})
    classes = np.array([names.index(example.label) for example in train])
    keys = np.array([content_key(example_key(example)) for example in train], np.uint64)
    held = _held_out(keys, classes, names, config)
    kept = [example for example, out in zip(train, held, strict=True) if not out]
    if config.data.eval:
        return kept, list(read_examples(config.data.eval, config.data, "validation"))
    return kept, [example for example, out in zip(train, held, strict=True) if out]


def _held_out(
    keys: np.ndarray, classes: np.ndarray, names: Sequence[str], config: Config
) -> np.ndarray:
    """Which training rows (N,) are held out, class by class: none where data.eval is set.

    `classes` (N,) number `names`. Raises DataError when the rest cannot be learnt from.
    """
    held = np.zeros(len(keys), bool)
    if not config.data.eval:
        held = held_out_by_class(keys, classes, config.data.eval_fraction)
    found = np.unique(classes[~held])
    if len(found) < 2:
        only = f"only the class `{names[found[0]]}`" if len(found) else "no row"
        raise DataError(f"{config.data.train}: {only} to train on; a classifier needs two classes")
    if not config.data.eval and not held.any():
        raise DataError(
            f"{config.data.train}: too few different rows of a class to hold some out for "
            "evaluation; add rows or set data.eval"
        )
    return held


def texts(config: Config) -> Iterator[str]:
    """The training texts, for making a tokenizer."""
    return (example.text for example in read_examples(config.data.train, config.data))


def load(config: Config, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Read, validate and tokenise."""
    rows = _tokenise(config, config.data.train, "train", tokenizer)
    is_held = _held_out(rows.keys, rows.columns["class"], rows.classes, config)
    train, held = np.flatnonzero(~is_held), np.flatnonzero(is_held)
    labels = [rows.classes[i] for i in np.unique(rows.columns["class"][train])]
    held_out_rows = rows
    if config.data.eval:
        held_out_rows = _tokenise(config, config.data.eval, "validation", tokenizer)
        held = np.arange(len(held_out_rows))
    return Dataset(
        train=_split(rows, train, labels, config.data.train),
        eval=_split(held_out_rows, held, labels, sources(config.data)[-1]),
        labels=labels,
        sha256=content_sha256(sources(config.data)),
        num_leaked=int(np.isin(held_out_rows.keys[held], rows.keys[train]).sum()),
        pad_token_id=int(tokenizer.pad_token_id or 0),
    )


def load_eval(config: Config, tokenizer: PreTrainedTokenizerBase, model_config: Any) -> Dataset:
    """Only the held-out rows, for a model that is trained and whose classes are known."""
    labels = [model_config.id2label[i] for i in range(model_config.num_labels)]
    if config.data.eval:
        rows = _tokenise(config, config.data.eval, "validation", tokenizer)
        held = np.arange(len(rows))
    else:
        rows = _tokenise(config, config.data.train, "train", tokenizer)
        held = np.flatnonzero(_held_out(rows.keys, rows.columns["class"], rows.classes, config))
    split = _split(rows, held, labels, sources(config.data)[-1])
    return Dataset(
        train=split,
        eval=split,
        labels=labels,
        sha256=content_sha256(sources(config.data)[-1:]),
        pad_token_id=int(tokenizer.pad_token_id or 0),
    )


def _tokenise(
    config: Config, location: str, split: str, tokenizer: PreTrainedTokenizerBase
) -> TokenRows:
    """All rows of a file or folder."""
    limit = config.train.max_seq_len
    return tokenised(
        config.data.cache_dir,
        location,
        {
            "tokenizer": tokenizer_identity(tokenizer),
            "code": code_identity(__file__, rows.__file__),
            "columns": [config.data.text_column, config.data.label_column],
            "max_seq_len": limit,
        },
        read_examples(location, config.data, split),
        example_key,
        lambda examples: _encode(examples, tokenizer, limit),
    )


def _encode(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, limit: int) -> Encoded:
    """Column `cut` is 1 for a text of more than `limit` tokens."""
    encode: Callable[..., dict[str, list[list[int]]]] = tokenizer
    tokens = encode([example.text for example in examples], verbose=False)["input_ids"]
    long = [i for i, ids in enumerate(tokens) if len(ids) > limit]
    if long:
        # again, because cutting must keep the closing special token
        cut = encode([examples[i].text for i in long], truncation=True, max_length=limit)
        for i, ids in zip(long, cut["input_ids"], strict=True):
            tokens[i] = ids
    return Encoded(
        tokens=[np.array(ids, np.uint32) for ids in tokens],
        columns={"cut": np.isin(np.arange(len(examples)), long)},
        classes=[example.label for example in examples],
    )


def _split(rows: TokenRows, index: np.ndarray, labels: Sequence[str], location: str) -> Split:
    """The rows of `index` (N,). Raises DataError for a class that is not among `labels`."""
    ids = {label: i for i, label in enumerate(labels)}
    # number of a class in the file -> its number in the model; -1: the model has none
    numbers = np.array([ids.get(name, -1) for name in rows.classes])
    classes = numbers[rows.columns["class"][index]]
    unknown = np.flatnonzero(classes < 0)
    if len(unknown):
        row = index[unknown[0]]
        name = rows.classes[rows.columns["class"][row]]
        known = ", ".join(f"`{label}`" for label in labels[:20])
        raise DataError(
            f"{location}:{rows.rows[row]}: class `{name}` never occurs in training "
            f"({known}); add training rows of it or drop this one"
        )
    starts = np.zeros(len(index), np.int64)
    store = TokenStore(rows, index, starts, rows.lengths[index])
    return Split(store, classes, int(rows.columns["cut"][index].sum()))
