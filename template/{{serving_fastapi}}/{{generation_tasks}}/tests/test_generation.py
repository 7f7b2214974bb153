"""Text from tokens as they come, and what a chat may ask for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, MutableMapping
from typing import Any

import pytest
from pydantic import ValidationError

from inference.chat import _events, _Stream
from inference.chat_api import ChatRequest
from inference.chat_errors import openai_error
from inference.generation import Asked, ContextLengthError, Decoder, Piece, new_tokens
from inference.project import UserError
from inference.runner_options import RunnerOptions

END = 256
TEXT = "Grüße, 東京! 🎈 done\n"


class Bytes:
    """A tokenizer whose tokens are bytes, so that most characters are several tokens."""

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return bytes(i for i in ids if i != END).decode("utf-8", errors="replace")


def decoded(tokens: list[int], stop: tuple[str, ...] = ()) -> tuple[list[str], Decoder]:
    decoder = Decoder(Bytes(), [END], stop)
    texts = [decoder.push(token) for token in tokens]
    return [*texts, decoder.end()], decoder


def test_text_comes_in_whole_characters() -> None:
    texts, decoder = decoded([*TEXT.encode(), END])
    assert "".join(texts) == TEXT
    assert all("\N{REPLACEMENT CHARACTER}" not in text for text in texts)
    assert (decoder.finish_reason, decoder.tokens) == ("stop", len(TEXT.encode()))


def test_what_was_cut_in_a_character_is_given_out_at_the_end() -> None:
    texts, decoder = decoded(list("aé".encode()[:-1]))
    assert texts == ["a", "", "\N{REPLACEMENT CHARACTER}"]
    assert decoder.finish_reason == "length"


@pytest.mark.parametrize(
    "stop",
    [
        ("done",),
        ("東京",),
        ("京! ", "zzz"),
        ("🎈 d", "🎈"),
        ("ß",),
        ("\n",),
        ("Grüße, 東京! 🎈 done\n",),
    ],
)
def test_a_stop_text_ends_the_answer_before_it(stop: tuple[str, ...]) -> None:
    texts, decoder = decoded([*TEXT.encode(), END], stop)
    assert "".join(texts) == TEXT[: min(TEXT.find(each) for each in stop if each in TEXT)]
    assert decoder.finish_reason == "stop"


def test_no_text_is_given_out_that_may_begin_a_stop_text() -> None:
    texts, _ = decoded(list(b"abcabd"), ("abd",))
    assert texts[:4] == ["", "", "abc", ""]
    texts, decoder = decoded(list(b"xab"), ("abd",))
    assert texts == ["x", "", "", "ab"] and decoder.finish_reason == "length"


def test_any_tokens_and_stop_texts_give_the_text_up_to_the_first_stop() -> None:
    rng = random.Random(0)
    for _ in range(500):
        tokens = [rng.choice(b"aab\xc3\xa9") for _ in range(rng.randint(0, 12))]
        stop = tuple({"".join(rng.choices("abé", k=rng.randint(1, 3))) for _ in range(2)})
        whole = Bytes().decode(tokens, skip_special_tokens=True)
        ends = [whole.find(each) for each in stop if each in whole]
        texts, _ = decoded(tokens, stop)
        assert "".join(texts) == whole[: min(ends, default=None)], (tokens, stop)


@pytest.mark.parametrize("events_sent", [0, 1, 3])
def test_who_leaves_a_stream_ends_its_work_at_once(events_sent: int) -> None:
    sent, ended = list[bytes](), list[bool]()

    async def endless() -> AsyncGenerator[Piece, None]:
        try:
            while True:
                yield Piece("a", 1, 1)
        finally:
            ended.append(True)

    async def leave() -> None:
        pieces = endless()
        events = _events({"id": "x"}, await anext(pieces), pieces, False)
        gone = asyncio.Event()

        async def send(message: MutableMapping[str, Any]) -> None:
            if len(sent) >= events_sent:
                gone.set()
                await asyncio.Event().wait()
            if message.get("body"):
                sent.append(message["body"])

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async with asyncio.timeout(10):
            await _Stream(events, pieces, {})({"type": "http"}, receive, send)
        assert ended, "the work goes on until the garbage is collected"
        await events.aclose()

    asyncio.run(leave())


def test_an_answer_is_as_long_as_asked_allowed_and_possible() -> None:
    options = RunnerOptions(max_new_tokens=50)
    assert new_tokens(Asked("x", max_new_tokens=7), 10, 100, options) == 7
    assert new_tokens(Asked("x"), 10, 100, options) == 50
    assert new_tokens(Asked("x"), 80, 100, options) == 20
    assert new_tokens(Asked("x"), 80, None, options) == 50
    with pytest.raises(UserError, match="writes at most 50"):
        new_tokens(Asked("x", max_new_tokens=51), 10, 100, options)
    for asked, prompt_tokens in ((Asked("x", max_new_tokens=21), 80), (Asked("x"), 100)):
        with pytest.raises(ContextLengthError, match="context of 100 tokens"):
            new_tokens(asked, prompt_tokens, 100, options)


CHAT = [{"role": "user", "content": "Hello"}]
NEUTRAL: list[dict[str, Any]] = [
    {},
    {"user": "me", "metadata": {"a": "b"}, "store": True},
    {"n": 1, "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}, "logprobs": False},
    {"response_format": {"type": "text"}, "tools": [], "tool_choice": "none"},
    {"stop": None, "seed": None, "temperature": None, "top_p": None, "max_tokens": None},
    {"max_tokens": 3, "max_completion_tokens": 3},
]


@pytest.mark.parametrize("more", NEUTRAL, ids=str)
def test_fields_that_change_nothing_are_accepted(more: dict[str, Any]) -> None:
    assert ChatRequest.model_validate({"messages": CHAT, **more}).messages[0].text == "Hello"


@pytest.mark.parametrize(
    ("more", "code", "param"),
    [
        ({"n": 2}, "unsupported_parameter", None),
        ({"n": True}, "unsupported_parameter", None),
        ({"logprobs": True}, "unsupported_parameter", None),
        ({"frequency_penalty": 0.5}, "unsupported_parameter", None),
        ({"response_format": {"type": "json_object"}}, "unsupported_parameter", None),
        ({"tools": [{"type": "function"}]}, "unsupported_parameter", None),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "unsupported_parameter", None),
        ({"canary-4711": 1}, "unknown_parameter", None),
        ({"temperature": 2.5}, "invalid_value", "temperature"),
        ({"top_p": 0}, "invalid_value", "top_p"),
        ({"stop": ["canary-4711"] * 5}, "invalid_value", "stop"),
        ({"stop": [""]}, "invalid_value", "stop"),
        ({"messages": []}, "invalid_value", "messages"),
        ({"messages": [{"role": "canary-4711", "content": "x"}]}, "invalid_value", "messages"),
        ({"messages": [{"role": "user", "content": None}]}, "invalid_value", "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "canary-4711"}]}]},
            "invalid_value",
            "messages",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_honoured_is_refused(
    more: dict[str, Any], code: str, param: str | None
) -> None:
    with pytest.raises(ValidationError) as caught:
        ChatRequest.model_validate({"messages": CHAT, **more})
    refusal = openai_error(caught.value)
    assert refusal.status_code == 400
    text = bytes(refusal.body).decode()
    assert f'"code":"{code}"' in text and '"type":"invalid_request_error"' in text
    assert f'"param":{"null" if param is None else chr(34) + param + chr(34)}' in text
    assert "canary" not in text
