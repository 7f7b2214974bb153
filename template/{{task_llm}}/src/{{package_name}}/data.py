"""From conversations, prompts with completions, or plain text to batches of tokens."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import TemplateError

from .config import Config, DataConfig
from .errors import DataError
from .rows import Row, content_sha256, count_shared, hold_out, read_rows
from .tokens import TokenStore, TokenStoreBuilder, pad

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TASK = "llm"
THROUGHPUT = "tokens_per_s"
IGNORE = -100  # label of a token that does not count in the loss

Batch = dict[str, np.ndarray]
Message = dict[str, str]


@dataclass(frozen=True)
class Example:
    """A valid row: a conversation, or text that is learnt whole."""

    messages: tuple[tuple[str, str], ...]  # (role, content)
    text: str | None
    row: int


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

    def batch(self, split: Split, indices: Sequence[int]) -> Batch:
        """`input_ids`, `labels`, `position_ids`, all int64 of shape (B, L).

        Positions start at 0 in every document: that, without an attention mask, is what tells
        the model where one document ends and the next begins. The label of a document's first
        token is ignored, or the previous document's last token would have to predict it.
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
        return Example(_conversation(row, values["messages"]), None, row.number)
    if "prompt" in values and "completion" in values:
        prompt = _text(row, "prompt", values["prompt"])
        completion = _text(row, "completion", values["completion"])
        return Example((("user", prompt), ("assistant", completion)), None, row.number)
    if "text" in values:
        return Example((), _text(row, "text", values["text"]), row.number)
    has = ", ".join(f"`{name}`" for name in values) or "none"
    raise DataError(
        f"{row.where}: needs the column `messages`, or `prompt` and `completion`, or `text` "
        f"(it has {has}); rename a column"
    )


def _text(row: Row, column: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{row.where}: `{column}` is empty or no text; mend or drop the row")
    return value


def _conversation(row: Row, messages: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(messages, list) or not messages:
        raise DataError(f"{row.where}: `messages` must be a list of {{role, content}} objects")
    turns: list[tuple[str, str]] = []
    for position, message in enumerate(messages, start=1):
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            raise DataError(f"{row.where}: message {position} needs `role` and `content`")
        role, content = message["role"], message["content"]
        if not isinstance(role, str) or role not in {"system", "user", "assistant"}:
            raise DataError(
                f"{row.where}: message {position} has a role other than system, user, assistant"
            )
        if not isinstance(content, str) or not content.strip():
            raise DataError(f"{row.where}: message {position} has no text in `content`")
        if role == "system" and position > 1:
            raise DataError(
                f"{row.where}: message {position} is a system message; it must be first"
            )
        if turns and turns[-1][0] == role:
            raise DataError(
                f"{row.where}: messages {position - 1} and {position} are both from `{role}`; "
                "user and assistant must take turns"
            )
        turns.append((role, content))
    if turns[0][0] == "assistant":
        raise DataError(f"{row.where}: starts with the assistant; begin with system or user")
    if turns[-1][0] != "assistant":
        raise DataError(f"{row.where}: ends without an assistant message, so nothing can be learnt")
    return tuple(turns)


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
    return {"messages": [{"role": r, "content": c} for r, c in example.messages]}


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
        tokens, trained, turn_ends = encode_conversation(example, tokenizer)
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


def encode_conversation(
    example: Example, tokenizer: PreTrainedTokenizerBase
) -> tuple[list[int], list[bool], list[int]]:
    """Tokens of a conversation, which of them are the assistant's, and where its turns end.

    The token that ends a turn counts as the assistant's: a model that is not taught it
    never stops. Raises DataError when the chat template refuses the conversation or does not
    build up turn by turn.
    """
    text, spans = _render_answers(example, tokenizer)
    if not spans or spans[-1][1] < len(text.rstrip()):
        raise DataError(
            f"row {example.row}: this tokenizer's chat template does not render turn by turn, "
            "so the answer cannot be told from the prompt; use another tokenizer or template"
        )
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    tokens = list(encoded["input_ids"])
    starts = np.asarray([start for start, _ in encoded["offset_mapping"]])
    trained = np.zeros(len(tokens), dtype=bool)
    turn_ends: list[int] = []
    for start, end in spans:
        trained |= (starts >= start) & (starts < end)
        turn_ends.append(int(np.searchsorted(starts, end)))
    stop_ids = set(tokenizer.all_special_ids)
    if tokens[turn_ends[-1] - 1] not in stop_ids and tokenizer.eos_token_id is not None:
        # a template without an end-of-turn token: end the conversation explicitly
        tokens = [*tokens[: turn_ends[-1]], int(tokenizer.eos_token_id)]
        trained = np.append(trained[: turn_ends[-1]], True)
        turn_ends[-1] += 1
    return tokens, trained.tolist(), turn_ends


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The special token that answers end with in training; it need not be the tokenizer's end."""
    probe = Example((("user", "a"), ("assistant", "b")), None, 0)
    try:
        tokens, _, turn_ends = encode_conversation(probe, tokenizer)
    except DataError:
        return None
    last = tokens[turn_ends[-1] - 1]
    return last if last in tokenizer.all_special_ids else None


def _render_answers(
    example: Example, tokenizer: PreTrainedTokenizerBase
) -> tuple[str, list[tuple[int, int]]]:
    """The conversation as text, and where in it the assistant's turns start and end."""
    messages = [{"role": role, "content": content} for role, content in example.messages]
    spans: list[tuple[int, int]] = []
    try:
        text = _render(tokenizer, messages, generate=False)
        for i, message in enumerate(messages):
            if message["role"] == "assistant":
                before = _render(tokenizer, messages[:i], generate=True)
                after = _render(tokenizer, messages[: i + 1], generate=False)
                if text.startswith(before) and text.startswith(after.rstrip()):
                    spans.append((len(before), len(after.rstrip())))
    except TemplateError as error:  # templates refuse roles and orders they do not know
        raise DataError(
            f"row {example.row}: the chat template of this tokenizer refuses the conversation "
            f"({error}); mend or drop the row"
        ) from None
    return text, spans


def _render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], generate: bool) -> str:
    if tokenizer.chat_template:
        return str(
            tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=generate
            )
        )
    # a base model's tokenizer: the prompt, a line break, the answer
    text = "".join(message["content"] + "\n" for message in messages)
    return text if generate else text.removesuffix("\n")


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
