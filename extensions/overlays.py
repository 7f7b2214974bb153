"""The overlay variables `<question>_<value>`: `.` for a choice that was made, else nothing.

A folder of template/ named by such a variable dissolves into its parent or is skipped.
A multi-select question also has `<question>_none`, for an empty answer. `SHARED` names the folders
of files that several choices of one question have in common.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .questions import Question

CHOSEN = "."
NOT_CHOSEN = ""

# overlay: the question, and the choices that share its files
SHARED: dict[str, tuple[str, tuple[str, ...]]] = {
    "text_tasks": ("task", ("llm", "text_classification")),
    "language_tasks": ("task", ("llm", "text_classification", "multimodal")),
    "generation_tasks": ("task", ("llm", "multimodal")),
    "classification_tasks": (
        "task",
        ("text_classification", "image_classification", "audio_classification"),
    ),
    "media_tasks": ("task", ("image_classification", "audio_classification", "multimodal")),
    "image_tasks": ("task", ("image_classification", "multimodal")),
    "labelled_media_tasks": ("task", ("image_classification", "audio_classification")),
    "adapter_strategies": ("strategy", ("lora", "qlora")),
    "several_gpus": ("parallelism", ("ddp", "fsdp")),
    "any_serving": ("serving", ("fastapi", "hf_endpoints")),
    "any_tracker": ("tracking", ("wandb", "mlflow")),
}


def name(key: str, value: Any) -> str:
    """Return the variable of one choice: `license` and `Apache-2.0` make `license_Apache_2_0`."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return re.sub(r"\W", "_", f"{key}_{text}")


def variables(questions: Mapping[str, Question], answers: Mapping[str, Any]) -> dict[str, str]:
    """Return every overlay variable; a question without an answer yet has none chosen."""
    result: dict[str, str] = {}
    for key, question in questions.items():
        answer = answers.get(key)
        answered = answer is not None
        if question.multiselect:
            chosen = answer if isinstance(answer, list) else []
            result[name(key, "none")] = CHOSEN if answered and not chosen else NOT_CHOSEN
        else:
            chosen = [answer]
        for value in _values(question):
            result[name(key, value)] = CHOSEN if answered and value in chosen else NOT_CHOSEN
    for shared, (key, values) in SHARED.items():
        answer = answers.get(key)
        chosen = answer if isinstance(answer, list) else [answer]
        result[shared] = CHOSEN if any(value in chosen for value in values) else NOT_CHOSEN
    return result


def _values(question: Question) -> list[Any]:
    if question.type == "bool":
        return [True, False]
    if question.choices is None:
        return []
    return list(question.choices.values())
