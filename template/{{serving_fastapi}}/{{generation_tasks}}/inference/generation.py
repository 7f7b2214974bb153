"""What is asked of a model that writes, and its answer piece by piece."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

from .errors import deadline_exceeded
from .project import UserError
from .runner_options import RunnerOptions

FinishReason = Literal["stop", "length"]

HALF = "\N{REPLACEMENT CHARACTER}"  # what bytes decode to that are no whole character yet


@dataclass(frozen=True)
class Asked:
    """One answer that a client asked for."""

    prompt: Any
    """As in /v1/predict: a text, messages, or an image with one of them."""
    number: int = 1
    """Its place among the inputs, for errors."""
    max_new_tokens: int | None = None
    """None: as many as the service allows and the model's context holds."""
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""


@dataclass(frozen=True)
class Piece:
    """The next part of an answer; the last one has a `finish_reason`."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    """Of the whole answer so far."""
    finish_reason: FinishReason | None = None


class ContextLengthError(UserError):
    """A prompt and its answer exceed what the model can hold."""


def new_tokens(
    asked: Asked, prompt_tokens: int, context_tokens: int | None, options: RunnerOptions
) -> int:
    """Longest answer in tokens. Raises UserError, or ContextLengthError where there is no room."""
    wanted = asked.max_new_tokens
    if wanted is not None and wanted > options.max_new_tokens:
        raise UserError(
            f"input {asked.number} asks for up to {wanted} new tokens; this service writes at most "
            f"{options.max_new_tokens}"
        )
    longest = wanted or options.max_new_tokens
    if context_tokens is None:
        return longest
    needed = 1 if wanted is None else wanted
    if prompt_tokens + needed > context_tokens:
        raise ContextLengthError(
            f"input {asked.number} has {prompt_tokens} tokens; with {needed} more that exceeds the "
            f"model's context of {context_tokens} tokens: shorten one of them"
        )
    return min(longest, context_tokens - prompt_tokens)


class Decoder:
    """Turns tokens into text as they come.

    It holds back what may still change: half a character, and what may begin a stop text.
    """

    def __init__(self, tokenizer: Any, stop_ids: Sequence[int], stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop_ids = frozenset(stop_ids)
        self._stop = tuple(text for text in stop if text)
        self._ids: list[int] = []
        self._given = 0  # tokens whose text was given out
        self._context = 0  # where decoding starts, as a token's text depends on those before it
        self._held = ""
        self.tokens = 0
        """Tokens of the answer, without the one that ends it."""
        self.finish_reason: FinishReason | None = None

    def push(self, token: int) -> str:
        """Take the next token; return the text that became certain, often none."""
        if self.finish_reason:
            return ""
        if token in self._stop_ids:
            return self._end("stop")
        self._ids.append(token)
        self.tokens += 1
        text = self._new_text()
        if text.endswith(HALF):
            return ""
        self._context, self._given = self._given, len(self._ids)
        return self._certain(text)

    def end(self) -> str:
        """Return what was held back, as no token follows."""
        return "" if self.finish_reason else self._end("length")

    def _end(self, reason: FinishReason) -> str:
        text = self._certain(self._new_text())
        if self.finish_reason:  # a stop text, only now complete
            return text
        self.finish_reason = reason
        held, self._held = self._held, ""
        return text + held

    def _new_text(self) -> str:
        before = self._decode(self._ids[self._context : self._given])
        return self._decode(self._ids[self._context :])[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True)) if ids else ""

    def _certain(self, new: str) -> str:
        text = self._held + new
        found = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        if found:
            self.finish_reason, self._held = "stop", ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` with which `stop` begins."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


class Mailbox:
    """The tokens of one answer on their way to the event loop; all methods run there."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[int | BaseException | None] = asyncio.Queue()

    def put(self, token: int) -> None:
        """One more token."""
        self._queue.put_nowait(token)

    def end(self) -> None:
        """No more tokens."""
        self._queue.put_nowait(None)

    def fail(self, error: BaseException) -> None:
        """No more tokens; the reader gets the error."""
        self._queue.put_nowait(error)

    async def tokens(self, deadline: float) -> AsyncIterator[int]:
        """The tokens as they come. Raises ServiceError (503) after the deadline."""
        while True:
            token = await self._next(deadline)
            if token is None:
                return
            if isinstance(token, BaseException):
                raise token
            yield token

    async def _next(self, deadline: float) -> int | BaseException | None:
        if time.monotonic() >= deadline:
            raise deadline_exceeded()
        if not self._queue.empty():
            return self._queue.get_nowait()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self._queue.get()
        except TimeoutError:
            raise deadline_exceeded() from None


async def pieces(
    tokens: AsyncIterator[int], decoder: Decoder, prompt_tokens: int
) -> AsyncGenerator[Piece, None]:
    """Decode tokens into pieces, up to the one that says why the answer ended."""
    async for token in tokens:
        text = decoder.push(token)
        if decoder.finish_reason:
            yield Piece(text, prompt_tokens, decoder.tokens, decoder.finish_reason)
            return
        if text:
            yield Piece(text, prompt_tokens, decoder.tokens)
    text = decoder.end()
    yield Piece(text, prompt_tokens, decoder.tokens, decoder.finish_reason)


class StreamingRunner(ABC):
    """A runner that writes."""

    @abstractmethod
    def stream(self, asked: Asked, deadline: float) -> AsyncGenerator[Piece, None]:
        """Answer piece by piece; closing the iterator ends the work at the next token.

        Raises UserError for a bad prompt, ServiceError 429 or 503, before the first piece or later.
        """

    async def predict(
        self, inputs: Sequence[Any], options: Mapping[str, Any], deadline: float
    ) -> list[Any]:
        """One output of /v1/predict for each input; when one fails the others are given up."""
        options = {**options, "stop": tuple(options.get("stop", ()))}
        asked = [
            Asked(prompt=item, number=number, **options)
            for number, item in enumerate(inputs, start=1)
        ]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(whole_answer(self, each, deadline)) for each in asked]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]


async def whole_answer(runner: StreamingRunner, asked: Asked, deadline: float) -> dict[str, Any]:
    """One output of /v1/predict. Raises UserError and ServiceError."""
    texts: list[str] = []
    async with aclosing(runner.stream(asked, deadline)) as stream:
        async for piece in stream:
            texts.append(piece.text)
            last = piece
    return {
        "text": "".join(texts),
        "finish_reason": last.finish_reason,
        "prompt_tokens": last.prompt_tokens,
        "completion_tokens": last.completion_tokens,
    }
