"""Prediction from a trained model's folder; the only thing that serving knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from jinja2 import TemplateError

from .batched_generation import BatchPredictor, Prompt
from .errors import UserError
from .generation import has_bf16, stop_ids
from .identity import identity
from .model import AUTO_CLASS
from .pretrained import load, load_trained, pick_device
from .sampling import drawn, uniform

# what the smoke test and the export compare two copies of a model on
PROBES = ["A short text.", "Another one, somewhat longer than the first, with 2 numbers: 17 and 4."]
PROBE_OPTIONS: dict[str, Any] = {"max_new_tokens": 8}

Input = str | Sequence[dict[str, str]]


class Predictor(BatchPredictor):
    """A model ready to use. Only `encode` and `read` are safe to call from two threads at once."""

    # how tokens are drawn, for engines that batch otherwise than `predict`
    drawn, uniform = staticmethod(drawn), staticmethod(uniform)

    def __init__(
        self, model: Any, processor: Any, name: str, version: str, digest: str = ""
    ) -> None:
        self.model, self.tokenizer = model.eval(), processor
        self.name, self.version, self.digest = name, version, digest
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        # a first use forgets the padding and cutting that may be saved with a tokenizer; further
        # ones change nothing, so that several threads may encode
        self.tokenizer("", add_special_tokens=False)
        self.stop_ids = stop_ids(self.model, self.tokenizer)
        self.positions = getattr(model.config, "max_position_embeddings", None)

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

    def logits(self, texts: Sequence[str]) -> torch.Tensor:
        """Next-token scores after each text, shape (N, vocabulary)."""
        encoded = self.tokenizer(list(texts), padding=True, return_tensors="pt").to(
            self.model.device
        )
        logits_NLV = self.model(
            input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]
        ).logits
        return logits_NLV[:, -1].float()

    def encode(self, item: Input, number: int = 1) -> list[int]:
        """Tokens of a prompt or conversation. Thread-safe. Raises UserError, which names it."""
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
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if not ids:
            raise UserError(f"input {number} holds nothing that the tokenizer knows")
        return ids

    def read(self, item: Input, number: int, limit: float | None = None) -> Prompt:
        """Tokens as `model.generate` takes them. Raises UserError."""
        ids = torch.tensor([self.encode(item, number)])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
