"""From conversations, prompts with completions, or plain text to batches of tokens."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .chat import IGNORE, encode_conversation, read_conversation, read_text
from .config import Config, DataConfig
from .errors import DataError
from .rows import Row, content_sha256, count_shared, hold_out, read_rows
from .tokens import TokenStore, TokenStoreBuilder, pad

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
    bins: list[list[int]]
    num_cut: int
    num_dropped: int
    num_rewritten: int
    """Earlier answers that the chat template renders differently later on; they have no loss."""

    def __len__(self) -> int:
        return len(self.bins)

    def length(self, index: int) -> int:
        """Tokens in one sequence."""
        return sum(len(self.store.sequence(row)[0]) for row in self.bins[index])

    def mean_length(self) -> float:
        """Tokens of a row, on average."""
        return float(self.store.lengths().mean())

    def rows(self, indices: Sequence[int]) -> list[int]:
        """Lines in their file of the rows in these sequences, for messages."""
        return [int(self.store.rows[row]) for i in indices for row in self.bins[i]]


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
            documents = [split.store.sequence(row) for row in split.bins[i]]
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
        trained = self.train.store.trained.mean()
        cut = self.train.num_cut + self.eval.num_cut
        dropped = self.train.num_dropped + self.eval.num_dropped
        rewritten = self.train.num_rewritten
        note = f"; {rewritten:,} earlier answers without loss (template)" if rewritten else ""
        if self.num_leaked:
            note += f"; {self.num_leaked:,} evaluation rows also in training"
        return (
            f"{len(self.train.store):,} training and {len(self.eval.store):,} evaluation rows, "
            f"{len(self.train.store.tokens):,} training tokens ({trained:.0%} with loss) "
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


def read_examples(location: str, data: DataConfig, split: str = "train") -> Iterator[Example]:
    """Validated rows of one file, folder or hub split."""
    for row in read_rows(location, split):
        yield validate(row, data)


def example_key(example: Example) -> str:
    """What makes two rows the same row."""
    return example.text if example.text is not None else repr(example.messages)


def to_record(example: Example, data: DataConfig) -> dict[str, Any]:
    """The row as prepare_data writes it."""
    if example.text is not None:
        return {"text": example.text}
    return {"messages": example.chat()}


def split_examples(
    examples: Sequence[Example], fraction: float
) -> tuple[list[Example], list[Example]]:
    """Split off `fraction` for evaluation; equal rows stay together."""
    return hold_out(examples, example_key, fraction)


def sources(data: DataConfig) -> list[str]:
    """Where the data is from, for its content hash."""
    return [data.train, *([data.eval] if data.eval else [])]


def load_examples(config: Config) -> tuple[list[Example], list[Example]]:
    """Training and evaluation rows. Raises DataError when there are too few."""
    train = list(read_examples(config.data.train, config.data))
    if config.data.eval:
        return train, held_out_examples(config)
    train, held_out = split_examples(train, config.data.eval_fraction)
    if not held_out:
        raise DataError(
            f"{config.data.train}: too few different rows to hold some out for evaluation; "
            "add rows or set data.eval"
        )
    return train, held_out


def held_out_examples(config: Config) -> list[Example]:
    """The evaluation rows; those of data.eval need no training data."""
    if config.data.eval:
        return list(read_examples(config.data.eval, config.data, "validation"))
    return load_examples(config)[1]


def texts(config: Config) -> Iterator[str]:
    """The training texts, for making a tokenizer."""
    for example in read_examples(config.data.train, config.data):
        yield from (content for _, content in example.messages)
        if example.text is not None:
            yield example.text


def load(config: Config, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Read, validate, tokenise and lay into sequences."""
    train, held_out = load_examples(config)
    return Dataset(
        train=_tokenise(train, tokenizer, config, config.train.packing),
        # one row a sequence, so that evaluation is the same with packing and without
        eval=_tokenise(held_out, tokenizer, config, packing=False),
        sha256=content_sha256(sources(config.data)),
        num_leaked=count_shared(map(example_key, train), map(example_key, held_out)),
        pad_token_id=int(tokenizer.pad_token_id or 0),
    )


def load_eval(config: Config, tokenizer: PreTrainedTokenizerBase, model_config: object) -> Dataset:
    """Only the held-out rows, for a model that is trained."""
    split = _tokenise(held_out_examples(config), tokenizer, config, packing=False)
    return Dataset(
        train=split,
        eval=split,
        sha256=content_sha256(sources(config.data)[-1:]),
        pad_token_id=int(tokenizer.pad_token_id or 0),
    )


def _tokenise(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    config: Config,
    packing: bool,
) -> Split:
    builder = TokenStoreBuilder()
    limit = config.train.max_seq_len
    num_cut = num_dropped = num_rewritten = 0
    for example in examples:
        if example.text is not None:
            tokens = tokenizer(example.text, verbose=False)["input_ids"]
            tokens = _ended(tokens, tokenizer)
            num_cut += len(tokens) > limit
            # long text is cut into pieces, none is lost
            for start in range(0, len(tokens), limit):
                piece = tokens[start : start + limit]
                if len(piece) > 1:
                    builder.add(piece, True, example.row)
            continue
        tokens, trained, turn_ends = encode_conversation(example.chat(), tokenizer, example.row)
        num_rewritten += sum(role == "assistant" for role, _ in example.messages) - len(turn_ends)
        end = len(tokens)
        if end > limit:
            # cut after the last answer that fits whole; half an answer teaches to stop anywhere
            end = max((t for t in turn_ends if t <= limit), default=0)
            num_cut += end > 0
            num_dropped += end == 0
        if end:
            mask = True if config.train.train_on_prompts else trained[:end]
            builder.add(tokens[:end], mask, example.row)
    if num_dropped and num_dropped == len(examples):
        raise DataError(
            f"all {num_dropped:,} rows are longer than train.max_seq_len ({limit} tokens) before "
            "their first answer ends; raise it"
        )
    store = builder.build()
    bins = pack(store.lengths(), limit) if packing else [[i] for i in range(len(store))]
    return Split(store, bins, num_cut, num_dropped, num_rewritten)


def _ended(tokens: list[int], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Text ends with the end token, so that the model learns to stop."""
    end = tokenizer.eos_token_id
    return tokens if end is None or tokens[-1:] == [end] else [*tokens, int(end)]


def pack(lengths: np.ndarray, capacity: int) -> list[list[int]]:
    """Best-fit decreasing: lay rows of `lengths` (N,) into bins of `capacity` tokens.

    Deterministic; each bin lists row numbers in ascending order.
    """
    bins: list[list[int]] = []
    with_room: dict[int, list[int]] = {}  # free tokens -> bins that have just that many
    free_sizes: list[int] = []  # keys of with_room, sorted
    for row in np.argsort(-lengths, kind="stable"):
        length = int(lengths[row])
        at = bisect_left(free_sizes, length)
        if at == len(free_sizes):
            bins.append([])
            index, free = len(bins) - 1, capacity
        else:
            free = free_sizes[at]
            index = with_room[free].pop()
            if not with_room[free]:
                del with_room[free], free_sizes[at]
        bins[index].append(int(row))
        left = free - length
        if left not in with_room:
            insort(free_sizes, left)
        with_room.setdefault(left, []).append(index)
    return [sorted(rows) for rows in bins]
