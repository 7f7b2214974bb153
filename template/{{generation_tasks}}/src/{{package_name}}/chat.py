"""Conversations: checked, rendered by the model's chat template, and which tokens are answers.

A renderer is a tokenizer, or a processor that holds one: whatever has the chat template.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from jinja2 import TemplateError

from .errors import ConfigError, DataError
from .rows import Row

IGNORE = -100  # label of a token that does not count in the loss

Message = dict[str, Any]
TurnEnds = list[tuple[int, int]]  # (an answer's place among the messages, the token after it)
Content = TypeVar("Content")


def read_text(row: Row, name: str, value: Any) -> str:
    """A text that is not empty. Raises DataError naming file, line and column."""
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{row.where}: `{name}` is empty or no text; mend or drop the row")
    return value


def read_conversation(
    row: Row, messages: Any, read_content: Callable[[str, Any], Content]
) -> tuple[tuple[str, Content], ...]:
    """Checked turns of (role, content): user and assistant in turns, the assistant last.

    `read_content` gets the start of a message, such as "file:3: message 2", and the content.
    Raises DataError naming file, line and message.
    """
    if not isinstance(messages, list) or not messages:
        raise DataError(f"{row.where}: `messages` must be a list of {{role, content}} objects")
    turns: list[tuple[str, Content]] = []
    for position, message in enumerate(messages, start=1):
        where = f"{row.where}: message {position}"
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            raise DataError(f"{where} needs `role` and `content`")
        role = message["role"]
        if not isinstance(role, str) or role not in {"system", "user", "assistant"}:
            raise DataError(f"{where} has a role other than system, user, assistant")
        content = read_content(where, message["content"])
        if role == "system" and position > 1:
            raise DataError(f"{where} is a system message; it must be first")
        if turns and turns[-1][0] == role:
            raise DataError(
                f"{row.where}: messages {position - 1} and {position} are both from `{role}`; "
                "user and assistant must take turns"
            )
        turns.append((role, content))
    if turns[0][0] == "assistant":
        raise DataError(f"{row.where}: starts with the assistant; begin with system or user")
    if turns[-1][0] != "assistant":
        raise DataError(f"{row.where}: ends without an assistant message, so nothing can be learnt")
    return tuple(turns)


def tokenizer_in(renderer: Any) -> Any:
    """The tokenizer of a processor; a tokenizer as it is."""
    return getattr(renderer, "tokenizer", renderer)


def encode_conversation(
    messages: Sequence[Message], renderer: Any, row: int = 0
) -> tuple[list[int], list[bool], TurnEnds]:
    """Tokens of a conversation, which of them are the assistant's, and where its turns end.

    The token that ends a turn counts as the assistant's: a model that is not taught it
    never stops. Answers that the chat template renders differently once others follow count as
    prompt, and are not among the turns. Raises DataError when the chat template refuses the
    conversation or does not build up turn by turn.
    """
    tokens, trained, turn_ends = encode_conversations([messages], renderer, [row])[0]
    return tokens.tolist(), trained.tolist(), turn_ends


def encode_conversations(
    conversations: Sequence[Sequence[Message]], renderer: Any, rows: Sequence[int]
) -> list[tuple[np.ndarray, np.ndarray, TurnEnds]]:
    """The same for many, of which a fast tokenizer does several at a time."""
    tokenizer = tokenizer_in(renderer)
    rendered = _render_answers(conversations, renderer, rows)
    for (text, spans), row in zip(rendered, rows, strict=True):
        if not spans or spans[-1][2] < len(text.rstrip()):
            raise DataError(
                f"row {row}: this tokenizer's chat template does not render turn by turn, "
                "so the answer cannot be told from the prompt; use another tokenizer or template"
            )
    batch = tokenizer(
        [text for text, _ in rendered],
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    if batch.encodings is None:
        raise ConfigError(
            "model.name_or_path: its tokenizer cannot tell where a token stands in the text, so "
            "the answer cannot be told from the prompt; name a model with a fast tokenizer"
        )
    stop_ids = set(tokenizer.all_special_ids)
    encoded = []
    for i, (text, spans) in enumerate(rendered):
        ids, place = batch["input_ids"][i], batch.encodings[i]
        tokens = np.array(ids, dtype=np.uint32)
        trained = np.zeros(len(tokens), dtype=bool)
        turn_ends: TurnEnds = []
        for message, start, end in spans:
            after = _first_token_from(end, place, len(text))
            turn_ends.append((message, after))
            trained[_first_token_from(start, place, len(text)) : after] = True
        last, end = turn_ends[-1]
        if ids[end - 1] not in stop_ids and tokenizer.eos_token_id is not None:
            # a template without an end-of-turn token: end the conversation explicitly
            tokens = np.append(tokens[:end], np.uint32(tokenizer.eos_token_id))
            trained = np.append(trained[:end], True)
            turn_ends[-1] = (last, end + 1)
        encoded.append((tokens, trained, turn_ends))
    return encoded


def _first_token_from(character: int, encoding: Any, num_characters: int) -> int:
    """The first token that starts at this character or after it.

    Asked of the tokenizer: the offsets of all tokens as Python objects would take longer to make
    than the tokens.
    """
    for covered in range(character, num_characters):
        token = encoding.char_to_token(covered)
        if token is not None:
            while token < len(encoding) and encoding.token_to_chars(token)[0] < character:
                token += 1
            return int(token)
    return len(encoding)


def end_of_turn(renderer: Any) -> int | None:
    """The special token that answers end with in training; it need not be the tokenizer's end."""
    probe: list[Message] = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]
    if tokenizer_in(renderer) is not renderer:  # processors' templates want a list of parts
        for message in probe:
            message["content"] = [{"type": "text", "text": message["content"]}]
    try:
        tokens, _, turn_ends = encode_conversation(probe, renderer)
    except (DataError, ConfigError):  # it cannot be trained on conversations, and yet it may write
        return None
    last = tokens[turn_ends[-1][1] - 1]
    return last if last in tokenizer_in(renderer).all_special_ids else None


def render(renderer: Any, messages: Sequence[Message], generate: bool) -> str:
    """The conversation as text, with `generate` up to where the assistant begins to write."""
    return render_all(renderer, [messages], generate)[0]


def render_all(
    renderer: Any, conversations: Sequence[Sequence[Message]], generate: bool
) -> list[str]:
    """The same for many conversations."""
    if renderer.chat_template:
        texts: list[str] = renderer.apply_chat_template(
            list(map(list, conversations)), tokenize=False, add_generation_prompt=generate
        )
        return texts
    # a base model's tokenizer: the prompt, a line break, the answer
    whole = ["".join(each["content"] + "\n" for each in messages) for messages in conversations]
    return whole if generate else [text.removesuffix("\n") for text in whole]


def _render_answers(
    conversations: Sequence[Sequence[Message]], renderer: Any, rows: Sequence[int]
) -> list[tuple[str, list[tuple[int, int, int]]]]:
    """Conversations as text, and its answers: (place among the messages, start, end).

    Those that the template renders differently once others follow are left out.
    """
    answers = [
        [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        for messages in conversations
    ]
    pairs = list(zip(conversations, answers, strict=True))
    try:
        whole = render_all(renderer, conversations, generate=False)
        befores = render_all(renderer, [m[:i] for m, at in pairs for i in at], generate=True)
        # after its last turn a conversation is whole
        parts = [m[: i + 1] for m, at in pairs for i in at if i + 1 < len(m)]
        afters = render_all(renderer, parts, generate=False) if parts else []
    except TemplateError as error:  # templates refuse roles and orders they do not know
        if len(conversations) > 1:
            each = zip(conversations, rows, strict=True)
            return [_render_answers([one], renderer, [row])[0] for one, row in each]
        raise DataError(
            f"row {rows[0]}: the chat template of this tokenizer refuses the conversation "
            f"({error}); mend or drop the row"
        ) from None
    next_before, next_after = iter(befores), iter(afters)
    rendered = []
    for text, (messages, at) in zip(whole, pairs, strict=True):
        spans: list[tuple[int, int, int]] = []
        for i in at:
            before = next(next_before)
            after = (next(next_after) if i + 1 < len(messages) else text).rstrip()
            if text.startswith(before) and text.startswith(after):
                spans.append((i, len(before), len(after)))
        rendered.append((text, spans))
    return rendered
