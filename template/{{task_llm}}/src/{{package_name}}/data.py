"""From conversations, prompts with completions, or plain text to batches of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from . import chat, rows
from .chat import IGNORE, encode_conversations, read_conversation, read_text
from .config import Config, DataConfig
from .errors import DataError
from .packing import pack
from .rows import BadRows, Row, checked, content_sha256, read_rows
from .splitting import content_key, held_out
from .token_cache import code_identity, tokenised, tokenizer_identity
from .tokens import Encoded, TokenRows, TokenStore, pad

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TASK = "llm"
THROUGHPUT = "tokens_per_s"

Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class Example:
    """A valid row: a conversation, or text that is learnt whole."""

    messages: tuple[tuple[str, str], ...]  # (role, content)
    text: str | None
    row: int

    def chat(self) -> list[dict[str, str]]:
        """The messages as chat templates take them."""
        return [{"role": role, "content": content} for role, content in self.messages]


@dataclass
class Split:
    """Tokenised rows, and how they are laid into sequences of at most max_seq_len tokens."""

    store: TokenStore
    packed: np.ndarray
    """Rows of the store, sequence by sequence, (N,) int64."""
    starts: np.ndarray
    """Where in `packed` each sequence starts, (sequences + 1,) int64."""
    num_trained: int
    """Tokens with loss."""
    num_cut: int
    num_dropped: int
    num_rewritten: int
    """Earlier answers that the chat template renders differently later on; they have no loss."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def num_rows(self) -> int:
        """Rows of the file: a sequence holds several, a long text is several of the store."""
        return self.store.num_rows

    def documents(self, index: int) -> list[int]:
        """Rows of the store in one sequence."""
        found: list[int] = self.packed[self.starts[index] : self.starts[index + 1]].tolist()
        return found

    @cached_property
    def _lengths(self) -> np.ndarray:
        return np.add.reduceat(self.store.lengths()[self.packed], self.starts[:-1])

    def lengths(self) -> np.ndarray:
        """Tokens in each sequence, (sequences,) int64."""
        return self._lengths

    def length(self, index: int) -> int:
        """Tokens in one sequence."""
        return int(self._lengths[index])

    def mean_length(self) -> float:
        """Tokens of a row, on average."""
        return float(self.store.lengths().mean())

    def rows(self, indices: Sequence[int]) -> list[int]:
        """Lines in their file of the rows in these sequences, for messages."""
        return [int(self.store.rows[row]) for i in indices for row in self.documents(i)]


@dataclass
class Dataset:
    """Everything training needs to know of the data."""

    train: Split
    eval: Split
    sha256: str
    pad_token_id: int
    labels: tuple[str, ...] = ()  # a language model has no classes
    num_leaked: int = 0
    """Evaluation rows that are also training rows: they make the metrics look better."""

    def batch(
        self, split: Split, indices: Sequence[int], augment: tuple[int, int] | None = None
    ) -> Batch:
        """`input_ids`, `labels`, `position_ids`, all int64 of shape (B, L).

        Positions start at 0 in every document: that, without an attention mask, is what tells
        the model where one document ends and the next begins. The label of a document's first
        token is ignored, or the previous document's last token would have to predict it.
        Text is not augmented.
        """
        ids, labels, positions = [], [], []
        for i in indices:
            documents = [split.store.sequence(row) for row in split.documents(i)]
            ids.append(np.concatenate([tokens for tokens, _ in documents]))
            labels.append(np.concatenate([_labels(*document) for document in documents]))
            positions.append(np.concatenate([np.arange(len(tokens)) for tokens, _ in documents]))
        width = max(len(sequence) for sequence in ids)
        return {
            "input_ids": pad(ids, self.pad_token_id),
            "labels": pad(labels, IGNORE),
            # padding is one more document, which nothing else can see
            "position_ids": np.stack(
                [np.concatenate([p, np.arange(width - len(p))]) for p in positions]
            ),
        }

    def size(self, split: Split, indices: Sequence[int]) -> int:
        """What the throughput counts: tokens, without padding."""
        return sum(split.length(i) for i in indices)

    def summary(self) -> str:
        """What the model will see, in one line."""
        num_tokens = int(self.train.lengths().sum())
        trained = self.train.num_trained / num_tokens
        cut = self.train.num_cut + self.eval.num_cut
        dropped = self.train.num_dropped + self.eval.num_dropped
        rewritten = self.train.num_rewritten
        note = f"; {rewritten:,} earlier answers without loss (template)" if rewritten else ""
        if self.num_leaked:
            note += f"; {self.num_leaked:,} evaluation rows also in training"
        return (
            f"{self.train.num_rows:,} training and {self.eval.num_rows:,} evaluation rows, "
            f"{num_tokens:,} training tokens ({trained:.0%} with loss) "
            f"in {len(self.train):,} sequences; {cut:,} rows cut, {dropped:,} left out as too long"
            + note
        )


def _labels(tokens: np.ndarray, trained: np.ndarray) -> np.ndarray:
    labels = np.where(trained, tokens.astype(np.int64), IGNORE)
    labels[0] = IGNORE
    return labels


def num_targets(batch: Batch) -> int:
    """How many predictions the loss of this batch is a sum of."""
    return int((batch["labels"] != IGNORE).sum())


def validate(row: Row, data: DataConfig) -> Example:
    """Check one row. Raises DataError naming file, line and what is wrong."""
    values = row.values
    if "messages" in values:
        return Example(read_conversation(row, values["messages"], _content), None, row.number)
    if "prompt" in values and "completion" in values:
        prompt = read_text(row, "prompt", values["prompt"])
        completion = read_text(row, "completion", values["completion"])
        return Example((("user", prompt), ("assistant", completion)), None, row.number)
    if "text" in values:
        return Example((), read_text(row, "text", values["text"]), row.number)
    has = ", ".join(f"`{name}`" for name in values) or "none"
    raise DataError(
        f"{row.where}: needs the column `messages`, or `prompt` and `completion`, or `text` "
        f"(it has {has}); rename a column"
    )


def _content(where: str, content: Any) -> str:
    if not isinstance(content, str) or not content.strip():
        raise DataError(f"{where} has no text in `content`")
    return content


def read_examples(
    location: str, data: DataConfig, split: str = "train", bad: BadRows | None = None
) -> Iterator[Example]:
    """Validated rows of one file, folder or hub split.

    The bad rows are collected in `bad`, or named in one DataError at the end.
    """
    return checked(read_rows(location, split), lambda row: validate(row, data), bad)


def example_key(example: Example) -> str:
    """What makes two rows the same row."""
    return example.text if example.text is not None else repr(example.messages)


group_key = example_key  # rows that must be on the same side when some are held out


def to_record(example: Example, data: DataConfig) -> dict[str, Any]:
    """The row as prepare_data writes it."""
    if example.text is not None:
        return {"text": example.text}
    return {"messages": example.chat()}


def sources(data: DataConfig) -> list[str]:
    """Where the data is from, for its content hash."""
    return [data.train, *([data.eval] if data.eval else [])]


def load_examples(config: Config) -> tuple[list[Example], list[Example]]:
    """Training and evaluation rows, all in memory. Raises DataError when there are too few."""
    train = list(read_examples(config.data.train, config.data))
    if config.data.eval:
        return train, list(read_examples(config.data.eval, config.data, "validation"))
    keys = np.array([content_key(example_key(example)) for example in train], np.uint64)
    held = _held_out(keys, config)
    return (
        [example for example, out in zip(train, held, strict=True) if not out],
        [example for example, out in zip(train, held, strict=True) if out],
    )


def _held_out(keys: np.ndarray, config: Config) -> np.ndarray:
    held = held_out(keys, config.data.eval_fraction)
    if not held.any():
        raise DataError(
            f"{config.data.train}: too few different rows to hold some out for evaluation; "
            "add rows or set data.eval"
        )
    return held


def texts(config: Config) -> Iterator[str]:
    """The training texts, for making a tokenizer."""
    for example in read_examples(config.data.train, config.data):
        yield from (content for _, content in example.messages)
        if example.text is not None:
            yield example.text


def load(config: Config, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Read, validate, tokenise and lay into sequences."""
    rows = _tokenise(config, config.data.train, "train", tokenizer)
    if config.data.eval:
        train = np.arange(len(rows))
        held_out_rows = _tokenise(config, config.data.eval, "validation", tokenizer)
        held = np.arange(len(held_out_rows))
    else:
        is_held = _held_out(rows.keys, config)
        train, held = np.flatnonzero(~is_held), np.flatnonzero(is_held)
        held_out_rows = rows
    return Dataset(
        train=_lay_out(rows, train, config, config.train.packing),
        # one row a sequence, so that evaluation is the same with packing and without
        eval=_lay_out(held_out_rows, held, config, packing=False),
        sha256=content_sha256(sources(config.data)),
        num_leaked=int(np.isin(held_out_rows.keys[held], rows.keys[train]).sum()),
        pad_token_id=int(tokenizer.pad_token_id or 0),
    )


def load_eval(config: Config, tokenizer: PreTrainedTokenizerBase, model_config: object) -> Dataset:
    """Only the held-out rows, for a model that is trained; data.eval needs no training data."""
    if config.data.eval:
        rows = _tokenise(config, config.data.eval, "validation", tokenizer)
        held = np.arange(len(rows))
    else:
        rows = _tokenise(config, config.data.train, "train", tokenizer)
        held = np.flatnonzero(_held_out(rows.keys, config))
    split = _lay_out(rows, held, config, packing=False)
    return Dataset(
        train=split,
        eval=split,
        sha256=content_sha256(sources(config.data)[-1:]),
        pad_token_id=int(tokenizer.pad_token_id or 0),
    )


def _tokenise(
    config: Config, location: str, split: str, tokenizer: PreTrainedTokenizerBase
) -> TokenRows:
    """All rows of a file or folder, whole; max_seq_len and packing come after."""
    return tokenised(
        config.data.cache_dir,
        location,
        {
            "tokenizer": tokenizer_identity(tokenizer),
            "code": code_identity(__file__, chat.__file__, rows.__file__),
        },
        read_examples(location, config.data, split),
        example_key,
        lambda examples: _encode(examples, tokenizer),
    )


def _encode(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Encoded:
    """Columns: `whole` is 1 for plain text, `trained` counts tokens with loss, `rewritten`
    answers without.
    """
    plain = [i for i, example in enumerate(examples) if example.text is not None]
    chats = [i for i, example in enumerate(examples) if example.text is None]
    tokens: list[Any] = [None] * len(examples)
    masks: list[Any] = [None] * len(examples)
    rewritten = np.zeros(len(examples), np.int32)
    if plain:
        batch = tokenizer([examples[i].text for i in plain], verbose=False)["input_ids"]
        for i, ids in zip(plain, batch, strict=True):
            tokens[i] = np.array(_ended(ids, tokenizer), np.uint32)
            masks[i] = np.ones(len(tokens[i]), bool)
    if chats:
        conversations = [examples[i].chat() for i in chats]
        batch = encode_conversations(conversations, tokenizer, [examples[i].row for i in chats])
        for i, messages, (ids, trained, turn_ends) in zip(chats, conversations, batch, strict=True):
            tokens[i], masks[i] = ids, trained
            rewritten[i] = sum(m["role"] == "assistant" for m in messages) - len(turn_ends)
    whole = np.isin(np.arange(len(examples)), plain)
    trained_tokens = np.array([mask.sum() for mask in masks], np.int32)
    columns = {"whole": whole, "trained": trained_tokens, "rewritten": rewritten}
    return Encoded(tokens, masks, columns)


def _lay_out(rows: TokenRows, index: np.ndarray, config: Config, packing: bool) -> Split:
    """The rows of `index` (N,), cut to max_seq_len and laid into sequences."""
    limit, lengths = config.train.max_seq_len, rows.lengths[index]
    whole = rows.columns["whole"][index] > 0
    ends, trained = lengths.copy(), rows.columns["trained"][index].astype(np.int64)
    too_long = (lengths > limit) & ~whole
    for i in np.flatnonzero(too_long):
        ends[i], trained[i] = _last_answer_that_fits(rows, int(index[i]), limit)
    dropped = ends == 0
    if dropped.any() and dropped.all():
        raise DataError(
            f"all {len(index):,} rows are longer than train.max_seq_len ({limit} tokens) before "
            "their first answer ends; raise it"
        )
    # long text is cut into pieces, none is lost: but a last one of one token predicts nothing
    pieces = np.where(whole, -(-lengths // limit), 1)
    pieces[dropped | (whole & (lengths == 1))] = 0
    lone = whole & (lengths % limit == 1) & (lengths > 1)
    pieces[lone] -= 1
    row = np.repeat(np.arange(len(index)), pieces)
    starts = (np.arange(len(row)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) * limit
    store = TokenStore(
        source=rows,
        index=index[row],
        starts=starts,
        ends=np.minimum(starts + limit, ends[row]),
        train_on_all=config.train.train_on_prompts,
    )
    num_tokens = int(store.lengths().sum())
    bins = pack(store.lengths(), limit) if packing else np.arange(len(store))
    packed = np.argsort(bins, kind="stable")
    return Split(
        store=store,
        packed=packed,
        starts=np.concatenate([[0], np.cumsum(np.bincount(bins))]),
        num_trained=num_tokens if store.train_on_all else int((trained - lone)[~dropped].sum()),
        num_cut=int((too_long & ~dropped).sum() + (whole & (lengths > limit)).sum()),
        num_dropped=int(dropped.sum()),
        num_rewritten=int(rows.columns["rewritten"][index].sum()),
    )


def _last_answer_that_fits(rows: TokenRows, row: int, limit: int) -> tuple[int, int]:
    """Where it ends, and the tokens with loss up to there; zeros where none fits.

    Half an answer would teach to stop anywhere.
    """
    _, trained = rows.part(row, 0, limit + 1)
    ends = np.flatnonzero(trained[:-1] & ~trained[1:]) + 1
    return (int(ends[-1]), int(trained[: ends[-1]].sum())) if len(ends) else (0, 0)


def _ended(tokens: list[int], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Text ends with the end token, so that the model learns to stop."""
    end = tokenizer.eos_token_id
    return tokens if end is None or tokens[-1:] == [end] else [*tokens, int(end)]
