"""What a load test asks of this kind of task: `/v1/predict`, or chats that are streamed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from ..project import ConfigError
from .client import Answer

DEADLINE_SECONDS = 60.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add `--stream` and `--max-tokens`."""
    parser.add_argument("--stream", action="store_true", help="chat completions, streamed")
    parser.add_argument("--max-tokens", type=int, default=32, help="most tokens of one answer")


def request(inputs: Sequence[Any], options: argparse.Namespace) -> tuple[str, bytes]:
    """Return path and body of one request. Raises ConfigError for what a chat cannot take."""
    if not options.stream:
        body = {"inputs": list(inputs), "options": {"max_new_tokens": options.max_tokens}}
        return "/v1/predict", json.dumps(body).encode()
    if len(inputs) != 1:
        raise ConfigError("a chat is one input; leave out --items or --stream")
    chat = {
        "messages": messages(inputs[0]),
        "max_tokens": options.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return "/v1/chat/completions", json.dumps(chat).encode()


def messages(item: Any) -> list[Any]:
    """One input of `/v1/predict` as the messages of a chat."""
    if isinstance(item, str):
        return [{"role": "user", "content": item}]
    if isinstance(item, list):
        return item
    if not isinstance(item, dict) or "image" not in item:
        raise ConfigError("an input is a text, a list of messages, or an object with an image")
    chat = item.get("messages") or [{"role": "user", "content": item.get("text", "")}]
    image = item["image"]
    url = image if image.startswith("data:") else f"data:image/png;base64,{image}"
    parts = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": chat[0]["content"]},
    ]
    return [{**chat[0], "content": parts}, *chat[1:]]


def read_stream(answer: Answer) -> tuple[float, int] | None:
    """Return the moment of the first text and the number of tokens; None if it was no stream."""
    first, pieces, counted = None, 0, None
    for moment, data in answer.chunks:
        for line in data.splitlines():
            if not line.startswith(b"data: {"):
                continue
            try:
                event = json.loads(line[6:])
            except ValueError:
                continue  # cut between two chunks: it holds no first text worth the bother
            if usage := event.get("usage"):
                counted = usage.get("completion_tokens")
            if any(choice.get("delta", {}).get("content") for choice in event.get("choices", ())):
                pieces += 1
                first = moment if first is None else first
    if first is None:
        return None
    return first, pieces if counted is None else counted
