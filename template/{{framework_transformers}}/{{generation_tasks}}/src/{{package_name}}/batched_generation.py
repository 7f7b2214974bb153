"""Write for several prompts at once, each with its own length, temperature, seed and end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from transformers import LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from .errors import UserError
from .generation import Output, generation_options, output
from .sampling import Draws

BATCH_SIZE = 8

Prompt = dict[str, torch.Tensor]
"""A model's inputs for one prompt: `input_ids` (1, L), and what its images became."""


class Row(Protocol):
    """One answer in a batch."""

    @property
    def prompt(self) -> Prompt:
        """What the answer follows."""

    @property
    def ids(self) -> Sequence[int]:
        """The answer's tokens so far; it goes on behind them."""

    @property
    def max_new_tokens(self) -> int:
        """The longest answer, with the tokens so far."""

    @property
    def temperature(self) -> float:
        """0: the likeliest token."""

    @property
    def top_p(self) -> float:
        """Draw only from the likeliest tokens, of this mass."""

    @property
    def seed(self) -> int:
        """The same seed gives the same answer, whatever else is in the batch."""

    def take(self, token: int, last: bool) -> bool:
        """Take the next token, also one that only ends the answer; False: no more are wanted."""


@dataclass(eq=False)
class Answer:
    """A row that keeps its tokens, until `is_over` says that they are enough."""

    prompt: Prompt
    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int
    is_over: Callable[[list[int]], bool] = lambda ids: False
    ids: list[int] = field(default_factory=list)

    def take(self, token: int, last: bool) -> bool:
        """Keep it."""
        self.ids.append(token)
        return not self.is_over(self.ids)


class BatchPredictor(ABC):
    """What predictors share: answers to inputs which they know how to read."""

    model: Any
    tokenizer: Any
    stop_ids: list[int]
    positions: int | None
    """Longest prompt and answer together, in tokens, where the model has a limit."""
    never_written: Sequence[int] = ()
    """Tokens that no answer may hold, as the signs for images: a batch that goes on behind one
    would look for the image."""
    read_at_once: int | None = None
    """Inputs that are read before the first of them is answered; None: all, as texts are small."""

    @abstractmethod
    def read(self, item: Any, number: int, limit: float | None = None) -> Prompt:
        """Check and prepare one input, which messages call `input <number>`. Raises UserError."""

    def check(self, item: Any, number: int, limit: float | None = None) -> None:  # noqa: B027
        """What can be told of a bad input before it is read. Raises UserError, as `read` does."""

    def predict(
        self,
        inputs: Sequence[Any],
        *,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
        limit: float | None = None,
    ) -> list[Output]:
        """Answer prompts or conversations; one output per input, in order; `limit` as in `read`.

        A temperature of 0 always takes the likeliest token; `top_p` draws from the likeliest
        tokens of that mass; a text of `stop` ends the answer. Raises UserError for a bad input.
        """

        def is_over(ids: list[int]) -> bool:
            text = self.tokenizer.decode(ids, skip_special_tokens=True) if stop else ""
            return any(each in text for each in stop)

        items = list(enumerate(inputs, start=1))
        for number, item in items:
            self.check(item, number, limit)
        outputs: list[Output] = []
        at_once = self.read_at_once or max(1, len(items))
        for start in range(0, len(items), at_once):
            answers = []
            for number, item in items[start : start + at_once]:
                prompt = self.read(item, number, limit)
                self._check_length(prompt, number, max_new_tokens)
                answers.append(Answer(prompt, max_new_tokens, temperature, top_p, seed, is_over))
            self._write_all(answers)
            outputs += [
                output(answer.ids, self.stop_ids, self.tokenizer, self.length(answer.prompt), stop)
                for answer in answers
            ]
        return outputs

    def _check_length(self, prompt: Prompt, number: int, max_new_tokens: int) -> None:
        length = self.length(prompt)
        if self.positions and length + max_new_tokens > self.positions:
            raise UserError(
                f"input {number} has {length} tokens; with max_new_tokens {max_new_tokens} "
                f"that exceeds the model's {self.positions} positions: shorten one of them"
            )

    def length(self, prompt: Prompt) -> int:
        """Tokens of a prompt, with those that images became."""
        return prompt["input_ids"].shape[1]

    def shapes(self, prompt: Prompt) -> Hashable:
        """What is equal for prompts that can share a batch; their lengths may differ."""
        return tuple(
            (name, tuple(values.shape[1:]))
            for name, values in sorted(prompt.items())
            if not _is_by_token(prompt, values)
        )

    @torch.inference_mode()
    def write(
        self, rows: Sequence[Row], pause: Callable[[int], bool] = lambda steps: False
    ) -> list[Row]:
        """Give each row its tokens as they come; return the rows that want more.

        The prompts of all rows have equal `shapes`. `pause` is asked after each step, with the
        number of steps so far, whether to leave off before all rows have ended.
        """
        prompts = [_longer(row.prompt, row.ids) for row in rows]
        batch = _stack(prompts, self.tokenizer.pad_token_id)
        left = max(row.max_new_tokens - len(row.ids) for row in rows)
        draws = Draws(
            [self.length(prompt) for prompt in prompts],
            [row.temperature for row in rows],
            [row.top_p for row in rows],
            [row.seed for row in rows],
        )
        hand_over = _HandOver(rows, self.stop_ids, pause)
        options = generation_options(self.stop_ids, self.tokenizer.pad_token_id, left)
        options.suppress_tokens = list(self.never_written) or None
        self.model.generate(
            **{name: values.to(self.model.device) for name, values in batch.items()},
            generation_config=options,
            logits_processor=LogitsProcessorList([draws]),
            stopping_criteria=StoppingCriteriaList([hand_over]),
        )
        return [row for row, over in zip(rows, hand_over.over, strict=True) if not over]

    def _write_all(self, rows: Sequence[Row]) -> None:
        groups: dict[Hashable, list[Row]] = {}
        for row in sorted(rows, key=lambda row: self.length(row.prompt)):  # little padding
            groups.setdefault(self.shapes(row.prompt), []).append(row)
        for group in groups.values():
            for start in range(0, len(group), BATCH_SIZE):
                self.write(group[start : start + BATCH_SIZE])


def _is_by_token(prompt: Prompt, values: torch.Tensor) -> bool:
    return values.shape == prompt["input_ids"].shape


def _longer(prompt: Prompt, ids: Sequence[int]) -> Prompt:
    """The prompt with more text at its end."""
    longer = dict(prompt)
    for name, values in prompt.items():
        if _is_by_token(prompt, values):
            longer[name] = F.pad(values, (0, len(ids)), value=int(name == "attention_mask"))
    if ids:
        longer["input_ids"][:, -len(ids) :] = torch.tensor(ids)
    return longer


def _stack(prompts: Sequence[Prompt], pad_token_id: int) -> Prompt:
    """One batch, padded on the left."""
    length = max(prompt["input_ids"].shape[1] for prompt in prompts)
    batch: Prompt = {}
    for name in prompts[0]:
        rows = [prompt[name] for prompt in prompts]
        if _is_by_token(prompts[0], rows[0]):
            pad = pad_token_id if name == "input_ids" else 0
            rows = [F.pad(row, (length - row.shape[1], 0), value=pad) for row in rows]
        batch[name] = torch.cat(rows)
    return batch


class _HandOver(StoppingCriteria):
    """Gives each row its new token, and tells which rows have ended."""

    def __init__(
        self, rows: Sequence[Row], stop_ids: list[int], pause: Callable[[int], bool]
    ) -> None:
        self._rows, self._stop_ids, self._pause = rows, frozenset(stop_ids), pause
        self._limits = [row.max_new_tokens - len(row.ids) for row in rows]
        self._steps = 0
        self.over = [False] * len(rows)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Rows that get no more tokens, (B,) of bool."""
        self._steps += 1
        for i, (row, token) in enumerate(zip(self._rows, input_ids[:, -1].tolist(), strict=True)):
            if not self.over[i]:
                last = token in self._stop_ids or self._steps >= self._limits[i]
                self.over[i] = not row.take(token, last) or last
        ended = [True] * len(self._rows) if self._pause(self._steps) else self.over
        return torch.tensor(ended, device=input_ids.device)
