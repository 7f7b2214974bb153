"""Chats over HTTP, by OpenAI's own client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import openai
import pytest
from chat_client import client_of, running
from test_service import Service

QUESTION = "How many minutes are 3 hours?"


@pytest.fixture(scope="module")
def service(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service with the tiny model."""
    with running(tiny_run, tmp_path_factory.mktemp("chat")) as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Service) -> openai.OpenAI:
    return client_of(service)


def ask(client: openai.OpenAI, content: Any = QUESTION, **more: Any) -> Any:
    more = {"model": "tiny-run", "max_tokens": 24, **more}
    messages: Any = [{"role": "user", "content": content}]
    return client.chat.completions.create(messages=messages, **more)


def tokens_written(service: Service) -> float:
    """In all answers that are over."""
    connection = HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    counts = [line for line in lines if line.startswith("inference_tokens_total{")]
    (count,) = (line.split()[-1] for line in counts if 'kind="completion"' in line)
    return float(count)


def test_a_chat_is_answered_as_predict_answers(client: openai.OpenAI, service: Service) -> None:
    answer = ask(client, temperature=0)
    status, body = service.predict([QUESTION], options={"max_new_tokens": 24})
    (output,) = body["outputs"]
    assert status == 200
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")
    assert (answer.model, answer.system_fingerprint) == ("tiny-run", body["model"]["digest"])
    assert abs(answer.created - time.time()) < 60
    (choice,) = answer.choices
    assert (choice.index, choice.message.role) == (0, "assistant")
    assert (choice.message.content, choice.finish_reason) == (
        output["text"],
        output["finish_reason"],
    )
    assert answer.usage.prompt_tokens == output["prompt_tokens"]
    assert answer.usage.completion_tokens == output["completion_tokens"]
    assert answer.usage.total_tokens == output["prompt_tokens"] + output["completion_tokens"]


def test_a_stream_is_the_same_answer_in_parts(client: openai.OpenAI) -> None:
    drawn: dict[str, Any] = {"seed": 7, "temperature": 1.0, "top_p": 0.9}
    whole = ask(client, **drawn)
    usage = {"include_usage": True}
    chunks = list(ask(client, **drawn, stream=True, stream_options=usage))
    *parts, last = chunks
    assert "".join(part.choices[0].delta.content or "" for part in parts) == (
        whole.choices[0].message.content
    )
    assert parts[0].choices[0].delta.role == "assistant"
    assert [part.choices[0].finish_reason for part in parts[:-1]] == [None] * (len(parts) - 1)
    assert parts[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert last.choices == [] and last.usage == whole.usage
    assert {(chunk.id, chunk.object, chunk.system_fingerprint) for chunk in chunks} == {
        (chunks[0].id, "chat.completion.chunk", whole.system_fingerprint)
    }


def test_a_seed_gives_the_same_text_alone_and_in_company(client: openai.OpenAI) -> None:
    def text(seed: int) -> str:
        content = QUESTION * (1 + seed % 3)
        # of a few tokens only: among all, another batch's rounding may draw the next one
        return str(ask(client, content, seed=seed, top_p=0.02).choices[0].message.content)

    alone = [text(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(text, range(8))) == alone
    assert len(set(alone)) > 4


def test_text_parts_are_read_and_images_refused(client: openai.OpenAI) -> None:
    first, rest = QUESTION[:10], QUESTION[10:]
    parts = [{"type": "text", "text": first}, {"type": "text", "text": rest}]
    assert ask(client, parts, seed=1).choices == ask(client, seed=1).choices
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    with pytest.raises(openai.BadRequestError, match="reads text only"):
        ask(client, [*parts, image])


def test_a_stop_text_ends_the_answer(client: openai.OpenAI) -> None:
    whole = ask(client, seed=3).choices[0].message.content
    stop = whole[len(whole) // 2 :][:3]
    for more in ({"stop": stop}, {"stop": ["never written", stop]}):
        cut = ask(client, seed=3, **more)
        assert cut.choices[0].message.content == whole[: whole.find(stop)]
        assert cut.choices[0].finish_reason == "stop"


def test_errors_are_those_of_openai(client: openai.OpenAI) -> None:
    refused: list[tuple[dict[str, Any], type[openai.APIStatusError], str]] = [
        ({"model": "gpt-4"}, openai.NotFoundError, "model_not_found"),
        ({"n": 2}, openai.BadRequestError, "unsupported_parameter"),
        ({"max_tokens": 250}, openai.BadRequestError, "context_length_exceeded"),
        ({"content": "long " * 2000}, openai.BadRequestError, "context_length_exceeded"),
        ({"content": "x" * 30_000}, openai.BadRequestError, "input_too_long"),
        ({"content": "  "}, openai.BadRequestError, "invalid_input"),
        ({"temperature": 3}, openai.BadRequestError, "invalid_value"),
        ({"extra_body": {"top_k": 5}}, openai.BadRequestError, "unknown_parameter"),
        ({"extra_headers": {"X-Request-Timeout": "0.0001"}}, openai.APIStatusError, "deadline"),
    ]
    for more, kind, code in refused:
        for stream in (False, True):
            with pytest.raises(kind) as caught:
                ask(client, **more, stream=stream)
            assert code in str(caught.value.code)
            assert caught.value.response.headers["x-request-id"]


def test_what_a_page_could_send_unasked_is_refused(service: Service) -> None:
    """A browser sends text/plain to other hosts without asking them first."""
    chat = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 1}
    headers = {"Content-Type": "text/plain"}
    status, body = service.request("POST", "/v1/chat/completions", chat, headers)
    assert (status, body["error"]["type"]) == (422, "invalid_request_error")
    assert "Content-Type: application/json" in body["error"]["message"]


def test_the_served_model_is_listed(client: openai.OpenAI, service: Service) -> None:
    (card,) = client.models.list().data
    info = service.request("GET", "/readyz")[1]["model"]
    assert (card.id, card.to_dict()["digest"]) == (info["name"], info["digest"])
    for name in info.values():
        assert ask(client, model=name, max_tokens=1).model == card.id


def test_who_leaves_a_stream_ends_its_work(client: openai.OpenAI, service: Service) -> None:
    asked: dict[str, Any] = {"temperature": 0, "max_tokens": 200}
    whole = ask(client, **asked).usage.completion_tokens
    before = tokens_written(service)
    stream = ask(client, **asked, stream=True)
    next(iter(stream))
    stream.close()
    end = time.monotonic() + 60
    while (after := tokens_written(service)) == before:  # it is not over
        assert time.monotonic() < end
        time.sleep(0.05)
    assert after < before + whole
