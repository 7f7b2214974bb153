"""Words about each task, for the documents and commands that all tasks share."""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    """What differs from task to task in README, Makefile, AGENTS.md and the docs."""

    purpose: str
    """What the project trains, after "This project"."""
    unit: str
    """One input of the model, with its article."""
    suffix: str
    """Of the sample's files."""
    own: str
    """What a user's own data may be called, below data/raw/."""
    predict: str
    """Arguments of `make predict`, as a shell takes them."""
    two: str
    """Two inputs, as a shell takes them."""
    forms: str
    """The forms of data, in a few words."""
    request: str
    """What curl sends to /v1/predict, as a shell takes it."""


TASKS = {
    "llm": Words(
        purpose="trains a language model on conversations, prompts with completions, or plain text",
        unit="a text",
        suffix="jsonl",
        own="my_data.jsonl",
        predict='"Sort these words from A to Z: quartz, pebble, ember"',
        two='"first text" "second text"',
        forms="JSONL or Parquet with `messages`, or `prompt` and `completion`, or `text`",
        request=(
            """'{"inputs": ["Sort these words from A to Z: quartz, pebble, ember"], """
            """"options": {"max_new_tokens": 32}}'"""
        ),
    ),
    "text_classification": Words(
        purpose="trains a model that gives each text one of your labels",
        unit="a text",
        suffix="csv",
        own="my_data.csv",
        predict='"The driver never rang and my bike light is stuck at a depot."',
        two='"first text" "second text"',
        forms="CSV, JSONL or Parquet with the columns `text` and `label`",
        request="""'{"inputs": ["The driver never rang; my bike light is stuck at a depot."]}'""",
    ),
    "image_classification": Words(
        purpose="trains a model that gives each image one of your labels",
        unit="an image",
        suffix="parquet",
        own="my_images",
        predict="data/sample/example.png",
        two="first.jpg second.jpg",
        forms="a folder for each class, or a table with the columns `image` and `label`",
        request=r'''"{\"inputs\": [\"$(base64 < data/sample/example.png | tr -d '\n')\"]}"''',
    ),
    "audio_classification": Words(
        purpose="trains a model that gives each sound one of your labels",
        unit="a sound",
        suffix="parquet",
        own="my_sounds",
        predict="data/sample/example.flac",
        two="first.wav second.wav",
        forms="a folder for each class, or a table with the columns `audio` and `label`",
        request=r'''"{\"inputs\": [\"$(base64 < data/sample/example.flac | tr -d '\n')\"]}"''',
    ),
    "multimodal": Words(
        purpose="trains a model that answers questions about images",
        unit="an image with a question",
        suffix="jsonl",
        own="my_data.jsonl",
        predict='--image data/sample/example.png "What is in the image?"',
        two='--image first.jpg "first question" "second"',
        forms="JSONL or Parquet with `image` and `messages`",
        request=(
            r""""{\"inputs\": [{\"image\": \"$(base64 < data/sample/example.png | tr -d '\n')\", """
            r'''\"text\": \"What is in the image?\"}]}"'''
        ),
    ),
}
