"""Prediction from a trained model's folder; the only thing that serving knows."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jinja2 import TemplateError
from PIL import Image

from .batched_generation import BATCH_SIZE, BatchPredictor, Prompt
from .chat import render
from .errors import UserError
from .generation import has_bf16, stop_ids
from .identity import identity
from .image_chats import IMAGE
from .image_tokens import image_token_id, model_inputs
from .images import decode_image, open_image
from .media_files import from_base64
from .model import AUTO_CLASS
from .pretrained import load, load_trained, pick_device
from .processor import PROCESSOR_CLASS

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
PROBE_OPTIONS: dict[str, Any] = {"max_new_tokens": 8}


class Predictor(BatchPredictor):
    """A model ready to use. Of its methods only `read` is safe to call from two threads at once."""

    read_at_once = BATCH_SIZE

    def __init__(
        self, model: Any, processor: Any, name: str, version: str, digest: str = ""
    ) -> None:
        self.model, self.processor = model.eval(), processor
        self.name, self.version, self.digest = name, version, digest
        self.tokenizer, self.stop_ids = processor.tokenizer, stop_ids(model, processor)
        text_config = model.config.get_text_config()
        self.positions = getattr(text_config, "max_position_embeddings", None)
        self.never_written = [image_token_id(processor)]
        self._processing = threading.Lock()

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        """Load what training or export wrote. Raises UserError where it is not such a folder."""
        folder, target = Path(path), pick_device(device)
        # half the memory where it is native; a CPU computes best in fp32
        dtype = torch.bfloat16 if has_bf16(target) else torch.float32
        model = load_trained(AUTO_CLASS, folder, target, dtype=dtype)
        return cls(model, load(PROCESSOR_CLASS, str(folder)), *identity(folder))

    @torch.inference_mode()
    def logits(self, inputs: Sequence[Input]) -> torch.Tensor:
        """Next-token scores after each question, shape (N, vocabulary)."""
        scores = []
        for number, item in enumerate(inputs, start=1):
            prompt = self.read(item, number)
            prompt = {name: values.to(self.model.device) for name, values in prompt.items()}
            scores.append(self.model(**prompt).logits[:, -1].float())
        return torch.cat(scores)

    def check(self, item: Input, number: int, limit: float | None = None) -> None:
        """Check the texts, and the image by its header. Raises UserError."""
        self._chat(item, number)
        _image_bytes(item.get("image"), number, limit)

    def read(self, item: Input, number: int, limit: float | None = None) -> Prompt:
        """Check and prepare one input, whose image may have `limit` pixels.

        Safe to call from several threads. Raises UserError.
        """
        text, image = self._chat(item, number), _read_image(item.get("image"), number, limit)
        with self._processing:  # a fast tokenizer refuses a second thread
            encoded = model_inputs(self.processor, [text], [[image]])
        return {name: torch.from_numpy(values) for name, values in encoded.items()}

    def _chat(self, item: Input, number: int) -> str:
        """The prompt as text, with the sign for its image."""
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
        return prompt


def _has_image(chat: Sequence[dict[str, Any]]) -> bool:
    return any(part is IMAGE for message in chat for part in message["content"])


def _image_token(processor: Any) -> str:
    return str(processor.tokenizer.convert_ids_to_tokens(image_token_id(processor)))


def _image_bytes(image: object, number: int, limit: float | None) -> bytes:
    """The file, whose header was checked."""
    try:
        content = from_base64(image) if isinstance(image, str) else image
    except ValueError:
        raise UserError(f"input {number}: the image is no base64") from None
    if not isinstance(content, bytes) or not content:
        raise UserError(f"input {number}: the image is empty or neither bytes nor base64")
    try:
        open_image(io.BytesIO(content), limit)  # its header tells how large it is
    except ValueError as error:
        raise UserError(f"input {number}: the image {error}") from None
    return content


def _read_image(image: object, number: int, limit: float | None) -> np.ndarray:
    """(H, W, 3)."""
    content = _image_bytes(image, number, limit)
    try:
        return decode_image(io.BytesIO(content))
    except ValueError as error:
        raise UserError(f"input {number}: the image {error}") from None
