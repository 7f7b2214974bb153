"""Chats about an image, by OpenAI's own client."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from chat_client import client_of, running
from test_service import ROOT, Service

IMAGE = base64.b64encode((ROOT / "data/sample/example.png").read_bytes()).decode()
QUESTION = "What is in the image?"


@pytest.fixture(scope="module")
def service(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service with the tiny model."""
    with running(tiny_run, tmp_path_factory.mktemp("image chat")) as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Service) -> openai.OpenAI:
    return client_of(service)


def image(url: str = f"data:image/png;base64,{IMAGE}") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": QUESTION}, *parts]}


def ask(client: openai.OpenAI, *messages: dict[str, Any], **more: Any) -> Any:
    more = {"temperature": 0, "max_tokens": 12, **more}
    return client.chat.completions.create(model=model(client), messages=list(messages), **more)  # type: ignore[arg-type]


def model(client: openai.OpenAI) -> str:
    return client.models.list().data[0].id


def test_a_chat_is_answered_as_predict_answers(client: openai.OpenAI, service: Service) -> None:
    answer = ask(client, user(image()))
    inputs = [{"image": IMAGE, "text": QUESTION}]
    status, expected = service.predict(inputs, options={"max_new_tokens": 12})
    assert status == 200
    output = expected["outputs"][0]
    assert answer.choices[0].message.content == output["text"]
    assert answer.choices[0].finish_reason == output["finish_reason"]
    assert answer.usage.prompt_tokens == output["prompt_tokens"]
    assert answer.usage.completion_tokens == output["completion_tokens"]


def test_a_longer_chat_streams_the_same_text(client: openai.OpenAI) -> None:
    turns = [
        {"role": "system", "content": "Answer in a word."},
        user(image()),
        {"role": "assistant", "content": "A circle."},
        {"role": "user", "content": "What colour?"},
    ]
    drawn = {"temperature": 1.0, "seed": 7}
    whole = ask(client, *turns, **drawn).choices[0]
    chunks = list(ask(client, *turns, **drawn, stream=True))
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert streamed == whole.message.content
    assert chunks[-1].choices[0].finish_reason == whole.finish_reason


@pytest.mark.parametrize(
    "messages",
    [
        [user()],
        [user(image(), image())],
        [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi"},
            user(image()),
        ],
        [{"role": "assistant", "content": [image()]}, user(image())],
    ],
    ids=["none", "two", "later", "of the assistant"],
)
def test_other_images_than_in_training_are_refused(
    client: openai.OpenAI, messages: list[dict[str, Any]]
) -> None:
    with pytest.raises(openai.BadRequestError, match="one image"):
        ask(client, *messages)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/secret.png",
        "file:///etc/hostname",
        "data:image/png;base64,c2VjcmV0",
        "data:image/svg+xml,<svg>secret</svg>",
        "secret",
    ],
)
def test_what_is_no_image_is_refused_in_a_sentence(client: openai.OpenAI, url: str) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        ask(client, user(image(url)))
    assert refused.value.status_code in (400, 422)
    assert isinstance(refused.value.body, dict)
    assert "secret" not in refused.value.body["message"]
    assert any(word in refused.value.body["message"] for word in ("image", "web address"))
