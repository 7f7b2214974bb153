"""Continuous batching by transformers: answers join and leave the batch at every token.

Its threads and its memory are the library's; here are the choices: how much memory, how a token
is drawn, and a check that it computes what the model computes without it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig, LogitsProcessorList
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessor,
    ContinuousBatchingLogitsProcessorList,
)
from transformers.generation.continuous_batching.model_runner import infer_max_single_request_tokens
from transformers.generation.continuous_batching.requests import FutureRequestState

from .errors import let_go
from .memory import free_memory, is_out_of_memory
from .project import redacted
from .runner_options import RunnerOptions
from .schema import EXAMPLE_INPUTS

PAGE_TOKENS = 64  # memory is given to answers in pages of so many tokens
UNLIMITED_CONTEXT = 4096  # tokens that are planned for a model which states no limit
CHECKED_TOKENS = 8
CHECK_SECONDS = 120.0
STOP_SECONDS = 10.0
# of the likeliest token's lead over the mean: so much other kernels may round otherwise
TOLERANCE, TOLERANCE_16_BIT = 1e-3, 0.05


class UnsupportedModelError(Exception):
    """The library cannot batch this model continuously, or does it wrongly."""


class ContinuousBatching:
    """A model in the hands of the library's generation thread."""

    def __init__(self, predictor: Any, options: RunnerOptions) -> None:
        self._predictor = predictor
        self._numbers = count()
        self._manager: Any = None
        attention = predictor.model.config._attn_implementation
        expected = [_reference(predictor, predictor.encode(item)) for item in EXAMPLE_INPUTS]
        _quiet(logging.CRITICAL)  # while it is only tried
        try:
            self._manager = _manager(predictor, options)
            self.context_tokens = min(
                _context(predictor, options),
                infer_max_single_request_tokens(self._manager.batch_processor.cache),
            )
            self._manager.start()
            for answer in expected:
                self._check(*answer)
        except Exception as error:
            self.close()
            # the library changes it first of all, and gives it back only after it was started
            if predictor.model.config._attn_implementation != attention:
                predictor.model.set_attn_implementation(attention)
            if is_out_of_memory(error) or isinstance(error, UnsupportedModelError):
                raise
            raise UnsupportedModelError(_cause(error)) from error
        finally:
            _quiet(logging.ERROR)

    def submit(
        self,
        prompt: Sequence[int],
        max_new_tokens: int,
        draw: dict[str, Any],
        on_output: Callable[[Any], None],
    ) -> str | None:
        """Begin an answer; `on_output` gets the library's GenerationOutput after every token.

        To be called on the event loop, where `on_output` is called too. `draw` is temperature,
        top_p and seed. None: the thread has ended.
        """
        name = str(next(self._numbers))
        self._manager.register_result_handler(name, on_output)
        taken = self._manager.add_request(
            list(prompt),
            request_id=name,
            max_new_tokens=max_new_tokens,
            streaming=True,
            eos_token_id=self._predictor.stop_ids,
            **draw,
        )
        if taken is None:
            self._forget(name)
        return taken

    def cancel(self, name: str) -> None:
        """End an answer at the next token and free its memory."""
        self._manager.cancel_request(name)
        self._forget(name)

    @property
    def alive(self) -> bool:
        """Whether the thread works."""
        # what it has in hand fails before the thread's end is recorded
        status = self._manager.background_thread_status
        return self._manager.is_running() and status.can_accept_new_requests() is None

    @property
    def active(self) -> int:
        """Answers that hold memory now."""
        processor = self._manager.batch_processor
        return len(processor.scheduler.active_requests) if processor else 0

    def restart(self) -> None:
        """Begin anew after the thread ended by an error; what it had in hand is lost."""
        self._manager.join(0.0)
        status = self._manager.background_thread_status
        let_go(status.fatal_error)  # its frames hold the tensors of the step that failed
        free_memory()
        self._manager.start()

    def close(self) -> None:
        """Stop the thread; answers under way fail."""
        if self._manager is not None:  # a dead thread too: the model gets its attention back
            self._manager.stop(block=True, timeout=STOP_SECONDS, hard_stop=True)

    def _forget(self, name: str) -> None:
        router = self._manager.output_router
        router.result_handlers.pop(name, None)
        # a token that was on its way goes to the queue that nobody reads
        while not router.output_queue.empty():
            router.output_queue.get_nowait()

    def _check(self, prompt: list[int], expected: list[int], logits_TV: torch.Tensor) -> None:
        """Raises UnsupportedModelError where the tokens are not those of model.generate."""
        self._manager.add_request(
            prompt, max_new_tokens=len(expected), eos_token_id=self._predictor.stop_ids
        )
        result = self._manager.get_result(timeout=CHECK_SECONDS)
        if result is None or result.error is not None:
            error = self._manager.background_thread_status.fatal_error
            raise UnsupportedModelError(_cause(error) if error else "no answer came")
        tolerance = TOLERANCE if self._predictor.model.dtype == torch.float32 else TOLERANCE_16_BIT
        for got, token, logits_V in zip(result.generated_tokens, expected, logits_TV, strict=False):
            if got != token:
                lead = logits_V[token] - logits_V.mean()
                if logits_V[token] - logits_V[got] > tolerance * lead:
                    raise UnsupportedModelError("its tokens differ from those of model.generate")
                return  # a tie: from here on the two texts differ rightly


def _quiet(level: int) -> None:
    """Let the library log from `level` on, and in our form; below ERROR it names tokens."""
    theirs = logging.getLogger("ContinuousBatchingLogger")
    theirs.setLevel(level)
    theirs.handlers.clear()
    theirs.propagate = True


def _cause(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(redacted(str(error)).split())[:200]}"


def _manager(predictor: Any, options: RunnerOptions) -> Any:
    pages = options.max_streams * math.ceil(_context(predictor, options) / PAGE_TOKENS)
    plan = {
        "page_size": PAGE_TOKENS,
        "max_batch_tokens": max(options.prefill_tokens, options.max_streams),
        "max_requests_per_batch": options.max_streams,
        "max_memory_percent": options.cache_memory_fraction,
        "auto_switch_to_flash": False,  # it may download kernels
    }
    try:
        return _started(predictor, ContinuousBatchingConfig(num_blocks=pages, **plan))
    except MemoryError:  # as many as there is room for
        return _started(predictor, ContinuousBatchingConfig(**plan))


def _started(predictor: Any, config: ContinuousBatchingConfig) -> Any:
    manager = predictor.model.init_continuous_batching(
        generation_config=GenerationConfig(do_sample=False, eos_token_id=predictor.stop_ids),
        continuous_batching_config=config,
    )
    temperature, top_p = _Value("temperature", 0.0), _Value("top_p", 1.0)
    processors = [temperature, top_p, _Draw(predictor, temperature, top_p)]
    manager.logit_processor = ContinuousBatchingLogitsProcessorList(LogitsProcessorList(processors))
    manager.logit_processor.tensors_required = len(processors)
    manager.warmup()  # allocates the memory
    return manager


def _context(predictor: Any, options: RunnerOptions) -> int:
    limits = (options.max_context_tokens, predictor.positions)
    return min((limit for limit in limits if limit), default=UNLIMITED_CONTEXT)


@torch.inference_mode()
def _reference(predictor: Any, prompt: list[int]) -> tuple[list[int], list[int], torch.Tensor]:
    """The prompt, its likeliest tokens, and their logits (T, V), without continuous batching."""
    generated = predictor.model.generate(
        input_ids=torch.tensor([prompt], device=predictor.model.device),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long, device=predictor.model.device),
        generation_config=GenerationConfig(
            max_new_tokens=CHECKED_TOKENS,
            do_sample=False,
            repetition_penalty=1.0,
            eos_token_id=predictor.stop_ids,
            pad_token_id=predictor.tokenizer.pad_token_id,
            output_logits=True,
            return_dict_in_generate=True,
        ),
    )
    tokens = generated.sequences[0, len(prompt) :].tolist()
    return prompt, tokens, torch.cat(generated.logits).float().cpu()


class _Value(ContinuousBatchingLogitsProcessor):
    """Carries one number of each answer to the step that draws."""

    ignored_kwargs = ()

    def __init__(self, name: str, default: float) -> None:
        self.supported_kwargs = {name: float}
        self._name, self._default = name, default
        self.values_B = torch.empty(0)

    def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
        """The numbers of rows that are only padding."""
        int32_tensor.copy_(torch.full(int32_tensor.shape, self._default).view(torch.int32))

    def prepare_tensor_args(
        self, requests_with_new_token: list[FutureRequestState]
    ) -> torch.Tensor:
        """The numbers of a batch; the library carries all of them as if they were int32."""
        asked = (request.state.logit_processor_kwargs for request in requests_with_new_token)
        numbers = [each.get(self._name, self._default) for each in asked]
        return torch.tensor(numbers, dtype=torch.float32).view(torch.int32)

    def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
        """Keep the numbers; the scores (B, V) stay."""
        self.values_B = tensor_arg[: scores.size(0)].view(torch.float32)
        return scores


class _Draw(ContinuousBatchingLogitsProcessor):
    """Draws each answer's token by a number of its own, so that no other answer matters."""

    ignored_kwargs = ()
    supported_kwargs = {"seed": int}

    def __init__(self, predictor: Any, temperature: _Value, top_p: _Value) -> None:
        self._predictor, self._temperature, self._top_p = predictor, temperature, top_p

    def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
        """The numbers of rows that are only padding."""
        int32_tensor.zero_()

    def prepare_tensor_args(
        self, requests_with_new_token: list[FutureRequestState]
    ) -> torch.Tensor:
        """A number in [0, 1) for each answer, from its seed and the position of the token."""
        states = [request.state for request in requests_with_new_token]
        numbers = [
            self._predictor.uniform(
                state.logit_processor_kwargs.get("seed", 0), state.current_len()
            )
            if state.logit_processor_kwargs.get("temperature")
            else 0.0
            for state in states
        ]
        return torch.tensor(numbers, dtype=torch.float32).view(torch.int32)

    def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
        """Scores (B, V) of which the library, told to be greedy, takes the drawn tokens."""
        uniform_B = tensor_arg[: scores.size(0)].view(torch.float32)
        result: torch.Tensor = self._predictor.drawn(
            scores, self._temperature.values_B, self._top_p.values_B, uniform_B
        )
        return result
