"""From images with conversations to batches; an image is decoded when its batch is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .chat import IGNORE, Message, encode_conversation, read_conversation, render, tokenizer_in
from .config import Config, DataConfig
from .errors import DataError
from .images import check_image, decode_image
from .media_files import (
    Media,
    Store,
    as_cell,
    content_sha256_of_media,
    find_media,
    media_digest,
    open_media,
    reason,
)
from .rows import Row, content_sha256, count_shared, hold_out, read_rows

TASK = "multimodal"
THROUGHPUT = "tokens_per_s"
IMAGE = {"type": "image"}
LISTED_PROBLEMS = 20

Batch = dict[str, np.ndarray]
Part = dict[str, str]


@dataclass(frozen=True)
class Example:
    """A valid row: its images in the order in which the conversation shows them."""

    images: tuple[Media, ...]
    sizes: tuple[tuple[int, int], ...]  # (width, height)
    turns: tuple[tuple[str, tuple[str | None, ...]], ...]
    """(role, parts); a part is a text, or None where an image stands."""
    row: int
    where: str

    def chat(self) -> list[Message]:
        """The messages as chat templates of such models take them."""
        return [
            {
                "role": role,
                "content": [
                    IMAGE if part is None else {"type": "text", "text": part} for part in parts
                ],
            }
            for role, parts in self.turns
        ]

    def cut(self, num_turns: int) -> Example:
        """Only the first turns, and the images they show."""
        turns = self.turns[:num_turns]
        shown = sum(part is None for _, parts in turns for part in parts)
        return Example(self.images[:shown], self.sizes[:shown], turns, self.row, self.where)


@dataclass
class Split:
    """Examples with their lengths in tokens, shape (N,), those of images included."""

    examples: list[Example]
    lengths: np.ndarray
    num_cut: int = 0
    num_dropped: int = 0

    def __len__(self) -> int:
        return len(self.examples)

    def length(self, index: int) -> int:
        """Tokens of one row."""
        return int(self.lengths[index])

    def mean_length(self) -> float:
        """Tokens of a row, on average."""
        return float(self.lengths.mean())

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
        images = [[_decode(media, each.where) for media in each.images] for each in examples]
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
        return (
            f"{len(self.train):,} training and {len(self.eval):,} evaluation rows, {images:,} "
            f"training images, {int(self.train.lengths.sum()):,} training tokens with those of "
            f"images; {cut:,} rows cut, {dropped:,} left out as too long"
            + (f"; {self.num_leaked:,} evaluation rows also in training" if self.num_leaked else "")
        )


def num_targets(batch: Batch) -> int:
    """How many predictions the loss of this batch is a sum of."""
    return int((batch["labels"] != IGNORE).sum())


# ── Rows ──


def validate(row: Row, data: DataConfig, store: Store) -> Example:
    """Check one row and the headers of its images. Raises DataError naming file and line."""
    column = data.image_column
    for name in (column, "messages"):
        if name not in row.values:
            has = ", ".join(f"`{each}`" for each in row.values) or "none"
            raise DataError(
                f"{row.where}: no column `{name}` (it has {has}); rename it"
                + (" or set data.image_column" if name == column else "")
            )
    value = row.values[column]
    values = value if isinstance(value, list) else [value]
    if not values:
        raise DataError(f"{row.where}: the list `{column}` has no image; mend or drop the row")
    images = tuple(find_media(row, column, each, store) for each in values)
    turns = read_conversation(row, row.values["messages"], _read_content)
    turns = _place_images(row, turns, len(images))
    try:
        sizes = tuple(_size(image) for image in images)
    except (OSError, ValueError) as error:
        raise DataError(f"{row.where}: the image {reason(error)}; mend or drop the row") from None
    return Example(images, sizes, turns, row.number, row.where)


def _read_content(where: str, content: Any) -> tuple[str | None, ...]:
    """A text, or a list of parts `{"type": "text", "text": …}` and `{"type": "image"}`."""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    found: list[str | None] = []
    for part in parts if isinstance(parts, list) else [parts]:
        fields = part if isinstance(part, dict) else {}
        kind, text = fields.get("type"), fields.get("text")
        if kind == "image":
            found.append(None)
        elif kind == "text" and isinstance(text, str) and text.strip():
            found.append(text)
        else:
            raise DataError(f"{where}: `content` is neither a text nor a list of texts and images")
    if not found:
        raise DataError(f"{where} has no text in `content`")
    return tuple(found)


def _place_images(
    row: Row, turns: tuple[tuple[str, tuple[str | None, ...]], ...], num_images: int
) -> tuple[tuple[str, tuple[str | None, ...]], ...]:
    """Put the images before the first question where the conversation does not say."""
    shown = sum(part is None for _, parts in turns for part in parts)
    if any(part is None for role, parts in turns if role != "user" for part in parts):
        raise DataError(f"{row.where}: an image stands outside of the user's messages")
    if shown == 0:
        first = next((i for i, (role, _) in enumerate(turns) if role == "user"), None)
        if first is None:
            raise DataError(f"{row.where}: no user message asks about the image; add one")
        role, parts = turns[first]
        return (*turns[:first], (role, (None,) * num_images + parts), *turns[first + 1 :])
    if shown != num_images:
        raise DataError(
            f"{row.where}: the messages show {shown} images and the row has {num_images}"
        )
    return turns


def _size(media: Media) -> tuple[int, int]:
    with open_media(media) as file:
        return check_image(file)


def _decode(media: Media, where: str) -> np.ndarray:
    try:
        with open_media(media) as file:
            return decode_image(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{where}: the image {reason(error)}; mend or drop the row") from None


def read_examples(location: str, data: DataConfig, split: str = "train") -> Iterator[Example]:
    """Validated rows; rows whose image cannot be read are named together, up to 20 of them."""
    store = Store()
    problems: list[str] = []
    for row in read_rows(location, split):
        try:
            yield validate(row, data, store)
        except DataError as error:
            if ": the image " not in str(error):
                raise
            problems.append(str(error))
    if problems:
        more = len(problems) - LISTED_PROBLEMS
        raise DataError(
            f"{location}: the images of {len(problems):,} rows cannot be used:\n       "
            + "\n       ".join(problems[:LISTED_PROBLEMS])
            + (f"\n       and {more:,} more" if more > 0 else "")
        )


def example_key(example: Example) -> str:
    """What makes two rows the same row: the conversation and the bytes of its images."""
    return repr((example.turns, *map(media_digest, example.images)))


def to_record(example: Example, data: DataConfig) -> dict[str, Any]:
    """The row as prepare_data writes it."""
    cells = [as_cell(image) for image in example.images]
    return {
        data.image_column: cells[0] if len(cells) == 1 else cells,
        "messages": example.chat(),
    }


def split_examples(
    examples: Sequence[Example], fraction: float
) -> tuple[list[Example], list[Example]]:
    """Split off `fraction` for evaluation; rows with equal images stay together.

    A question about an image that was trained on is no test.
    """
    return hold_out(examples, lambda each: repr([*map(media_digest, each.images)]), fraction)


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
        ends = [len(tokens) if end == turn_ends[-1] else end for end in turn_ends]
        sizes = [_expanded(tokens[:end], example, counts) for end in ends]
        fitting = sum(size <= limit for size in sizes)
        split.num_dropped += fitting == 0
        split.num_cut += 0 < fitting < len(sizes)
        if fitting:
            answers = [i for i, (role, _) in enumerate(example.turns) if role == "assistant"]
            kept.append(example.cut(answers[fitting - 1] + 1))
            lengths.append(sizes[fitting - 1])
    if not kept:
        raise DataError(
            f"all {len(examples):,} rows are longer than train.max_seq_len ({limit} tokens, those "
            "of images included) before their first answer ends; raise it"
        )
    split.lengths = np.asarray(lengths)
    return split


def _expanded(tokens: list[int], example: Example, counts: ImageTokens) -> int:
    """Tokens when each image's one placeholder has become all of its tokens."""
    shown = tokens.count(counts.token_id)
    return len(tokens) - shown + sum(counts.of(size) for size in example.sizes[:shown])


# ── What the model's processor makes of it ──


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
