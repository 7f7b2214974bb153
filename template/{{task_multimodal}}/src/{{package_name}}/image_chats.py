"""Conversations about images: which rows are valid, which are the same, how they are split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .chat import Message, read_conversation
from .config import DataConfig
from .errors import DataError
from .images import KIND, check_image, decode_image
from .media_files import (
    Media,
    Store,
    as_cell,
    called,
    find_media,
    media_digest,
    open_media,
    reason,
)
from .rows import BadRows, Row, checked, hold_out, read_rows

IMAGE = {"type": "image"}


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
    sizes = tuple(_size(image, row.where) for image in images)
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


def _size(media: Media, where: str) -> tuple[int, int]:
    try:
        with open_media(media) as file:
            return check_image(file)
    except (OSError, ValueError) as error:
        raise _unusable(media, where, error) from None


def decode(media: Media, where: str) -> np.ndarray:
    """The image as RGB: (H, W, 3), uint8. Raises DataError naming row and file."""
    try:
        with open_media(media) as file:
            return decode_image(file)
    except (OSError, ValueError) as error:
        raise _unusable(media, where, error) from None


def _unusable(media: Media, where: str, error: Exception) -> DataError:
    return DataError(f"{where}: {called(media, KIND)} {reason(error)}; mend or drop the row")


def read_examples(
    location: str, data: DataConfig, split: str = "train", bad: BadRows | None = None
) -> Iterator[Example]:
    """Validated rows; one DataError for all that cannot be used, or they are collected in `bad`."""
    store = Store()
    return checked(read_rows(location, split), lambda row: validate(row, data, store), bad)


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


def group_key(example: Example) -> str:
    """What must be on one side: a question about an image that was trained on is no test."""
    return repr([*map(media_digest, example.images)])


def split_examples(
    examples: Sequence[Example], fraction: float
) -> tuple[list[Example], list[Example]]:
    """Split off `fraction` for evaluation; rows with equal images stay together."""
    return hold_out(examples, group_key, fraction)
