"""Prediction from a trained model's folder; the only thing that serving knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from jinja2 import TemplateError
from transformers import GenerationConfig

from .errors import UserError
from .generation import Output, generation_options, has_bf16, output, stop_ids
from .model import AUTO_CLASS
from .pretrained import identity, load, load_trained, pick_device

BATCH_SIZE = 8
# what the smoke test and the export compare two copies of a model on
PROBES = ["A short text.", "Another one, somewhat longer than the first, with 2 numbers: 17 and 4."]
PROBE_OPTIONS = {"max_new_tokens": 8}

Input = str | Sequence[dict[str, str]]


class Predictor:
    """A language model ready to use. Not safe to call from two threads at once."""

    def __init__(self, model: Any, processor: Any, name: str, version: str) -> None:
        self.model, self.tokenizer = model.eval(), processor
        self.name, self.version = name, version
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.stop_ids = stop_ids(self.model, self.tokenizer)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        """Load what training or export wrote. Raises UserError where it is not such a folder."""
        from transformers import AutoTokenizer

        folder, target = Path(path), pick_device(device)
        # half the memory where it is native; a CPU computes best in fp32
        dtype = torch.bfloat16 if has_bf16(target) else torch.float32
        model = load_trained(AUTO_CLASS, folder, target, dtype=dtype)
        tokenizer = load(AutoTokenizer, str(folder))
        return cls(model, tokenizer, *identity(folder))

    @torch.inference_mode()
    def predict(
        self,
        inputs: Sequence[Input],
        *,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Output]:
        """Answer prompts or conversations; one output per input, in order.

        A temperature of 0 always takes the likeliest token. Raises UserError for a bad input.
        """
        prompts = [self._prompt(item, number) for number, item in enumerate(inputs, start=1)]
        lengths = [len(ids) for ids in prompts]
        positions = getattr(self.model.config, "max_position_embeddings", None)
        for number, length in enumerate(lengths, start=1):
            if positions and length + max_new_tokens > positions:
                raise UserError(
                    f"input {number} has {length} tokens; with max_new_tokens {max_new_tokens} "
                    f"that exceeds the model's {positions} positions: shorten one of them"
                )
        torch.manual_seed(seed)
        options = generation_options(
            self.stop_ids, self.tokenizer.pad_token_id, max_new_tokens, temperature
        )
        order = sorted(range(len(prompts)), key=lengths.__getitem__)
        outputs: dict[int, Output] = {}
        for start in range(0, len(order), BATCH_SIZE):
            indices = order[start : start + BATCH_SIZE]
            for i, ids in zip(
                indices, self._generate([prompts[i] for i in indices], options), strict=True
            ):
                outputs[i] = output(ids, self.stop_ids, self.tokenizer, lengths[i])
        return [outputs[i] for i in range(len(inputs))]

    def logits(self, texts: Sequence[str]) -> torch.Tensor:
        """Next-token scores after each text, shape (N, vocabulary)."""
        encoded = self.tokenizer(list(texts), padding=True, return_tensors="pt").to(
            self.model.device
        )
        logits_NLV = self.model(
            input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]
        ).logits
        return logits_NLV[:, -1].float()

    def _prompt(self, item: Input, number: int) -> list[int]:
        messages = [{"role": "user", "content": item}] if isinstance(item, str) else list(item)
        for message in messages:
            if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
                raise UserError(f"input {number}: every message needs `role` and `content`")
            if not isinstance(message["content"], str) or not message["content"].strip():
                raise UserError(f"input {number} is empty or no text")
        if not messages:
            raise UserError(f"input {number} has no messages")
        if self.tokenizer.chat_template:
            try:
                text = self.tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True
                )
            except TemplateError as error:  # templates refuse roles and orders they do not know
                raise UserError(f"input {number} does not fit the chat template: {error}") from None
        else:  # as in training: the prompt, a line break, the answer
            text = "".join(message["content"] + "\n" for message in messages)
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _generate(self, prompts: list[list[int]], options: GenerationConfig) -> list[list[int]]:
        batch = self.tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
        batch = batch.to(self.model.device)
        generated = self.model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            generation_config=options,
        )
        return generated[:, batch["input_ids"].shape[1] :].tolist()
