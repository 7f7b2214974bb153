"""Prediction from a trained model's folder; the only thing that serving knows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jinja2 import TemplateError
from PIL import Image
from transformers import GenerationConfig

from .chat import render
from .errors import UserError
from .generation import Output, generation_options, has_bf16, output, stop_ids
from .image_chats import IMAGE
from .image_tokens import model_inputs
from .images import decode_image
from .media_files import from_base64
from .model import AUTO_CLASS
from .pretrained import identity, load, load_trained, pick_device
from .processor import PROCESSOR_CLASS

BATCH_SIZE = 8

Input = dict[str, Any]
"""`image`: bytes, or base64 or a data URL; `text`: a question, or `messages`: a chat about it."""


def _probe(height: int, width: int, seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((width, height)).save(file, "PNG")
    return file.getvalue()


# what the smoke test and the export compare two copies of a model on
PROBES: list[Input] = [
    {"image": _probe(48, 48, seed=1), "text": "A short question?"},
    {"image": _probe(60, 40, seed=2), "text": "Another one, with 2 numbers: 17 and 4."},
]
PROBE_OPTIONS = {"max_new_tokens": 8}


class Predictor:
    """A model ready to use. Not safe to call from two threads at once."""

    def __init__(self, model: Any, processor: Any, name: str, version: str) -> None:
        self.model, self.processor = model.eval(), processor
        self.name, self.version = name, version
        self.stop_ids = stop_ids(model, processor)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        """Load what training or export wrote. Raises UserError where it is not such a folder."""
        folder, target = Path(path), pick_device(device)
        # half the memory where it is native; a CPU computes best in fp32
        dtype = torch.bfloat16 if has_bf16(target) else torch.float32
        model = load_trained(AUTO_CLASS, folder, target, dtype=dtype)
        return cls(model, load(PROCESSOR_CLASS, str(folder)), *identity(folder))

    @torch.inference_mode()
    def predict(
        self,
        inputs: Sequence[Input],
        *,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Output]:
        """Answer questions about images; one output per input, in order.

        A temperature of 0 always takes the likeliest token. Raises UserError for a bad input.
        """
        read = [self._read(item, number) for number, item in enumerate(inputs, start=1)]
        positions = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        torch.manual_seed(seed)
        options = generation_options(
            self.stop_ids, self.processor.tokenizer.pad_token_id, max_new_tokens, temperature
        )
        outputs: list[Output] = []
        for start in range(0, len(read), BATCH_SIZE):
            batch = self._encode(read[start : start + BATCH_SIZE])
            lengths = batch["attention_mask"].sum(dim=1).tolist()
            for number, length in enumerate(lengths, start=start + 1):
                if positions and length + max_new_tokens > positions:
                    raise UserError(
                        f"input {number} has {length} tokens with those of the image; with "
                        f"max_new_tokens {max_new_tokens} that exceeds the model's {positions} "
                        "positions: shorten one of them"
                    )
            generated = self._generate(batch, options)
            outputs += [
                output(ids, self.stop_ids, self.processor.tokenizer, length)
                for ids, length in zip(generated, lengths, strict=True)
            ]
        return outputs

    def logits(self, inputs: Sequence[Input]) -> torch.Tensor:
        """Next-token scores after each question, shape (N, vocabulary)."""
        read = [self._read(item, number) for number, item in enumerate(inputs, start=1)]
        return self.model(**self._encode(read)).logits[:, -1].float()

    def _read(self, item: Input, number: int) -> tuple[str, np.ndarray]:
        """The prompt as text, and its image (H, W, 3)."""
        if not isinstance(item, dict) or not {"text", "messages"} & item.keys():
            raise UserError(f"input {number} needs an `image`, and a `text` or `messages`")
        messages = item.get("messages") or [{"role": "user", "content": item.get("text")}]
        chat: list[dict[str, Any]] = []
        for message in messages:
            content = message.get("content") if isinstance(message, dict) else None
            if not isinstance(content, str) or not content.strip() or "role" not in message:
                raise UserError(f"input {number}: a message is empty or has no role")
            part = {"type": "text", "text": content}
            shown = [IMAGE] if message["role"] == "user" and not _has_image(chat) else []
            chat.append({"role": message["role"], "content": [*shown, part]})
        if not _has_image(chat):
            raise UserError(f"input {number} asks nothing: a message needs the role `user`")
        try:
            prompt = render(self.processor, chat, generate=True)
        except TemplateError as error:  # templates refuse roles and orders they do not know
            raise UserError(f"input {number} does not fit the chat template: {error}") from None
        if prompt.count(_image_token(self.processor)) != 1:
            raise UserError(f"input {number}: a text holds the model's own sign for an image")
        return prompt, _read_image(item.get("image"), number)

    def _encode(self, read: Sequence[tuple[str, np.ndarray]]) -> dict[str, torch.Tensor]:
        texts, images = [text for text, _ in read], [[image] for _, image in read]
        batch = model_inputs(self.processor, texts, images, padding_side="left")
        return {k: torch.from_numpy(v).to(self.model.device) for k, v in batch.items()}

    def _generate(
        self, batch: dict[str, torch.Tensor], options: GenerationConfig
    ) -> list[list[int]]:
        generated = self.model.generate(**batch, generation_config=options)
        return generated[:, batch["input_ids"].shape[1] :].tolist()


def _has_image(chat: Sequence[dict[str, Any]]) -> bool:
    return any(part is IMAGE for message in chat for part in message["content"])


def _image_token(processor: Any) -> str:
    return str(processor.tokenizer.convert_ids_to_tokens(processor.image_token_id))


def _read_image(image: object, number: int) -> np.ndarray:
    try:
        content = from_base64(image) if isinstance(image, str) else image
    except ValueError:
        raise UserError(f"input {number}: the image is no base64") from None
    if not isinstance(content, bytes) or not content:
        raise UserError(f"input {number}: the image is empty or neither bytes nor base64")
    try:
        return decode_image(io.BytesIO(content))
    except ValueError as error:
        raise UserError(f"input {number}: the image {error}") from None
