"""Data and models as users bring them: other formats, odd characters, other columns."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from projects import Installed

TOPICS = {
    "Rechnung": "I was charged twice for the {}",
    "delivery": 'The {} has not arrived,\nalthough the page says "delivered"',
    "сломано": "The {} broke on the first day; its hinge snapped",
}
THINGS = ("lamp", "Füllfederhalter", "chair", "kettle, the red one", "bike 🚲", "desk", "tent")


def tickets(project: Installed, folder: Path) -> list[str]:
    """Write a CSV with quotes, line breaks and its own columns, and a Parquet file to test on."""
    rows = [
        {"body": f"{text.format(thing)} (no. {number})", "id": number, "topic": topic}
        for number in range(12)
        for topic, text in TOPICS.items()
        for thing in THINGS
    ]
    train, held_out = folder / "tickets 2026.csv", folder / "held out.parquet"
    with train.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, ["body", "id", "topic"])
        writer.writeheader()
        writer.writerows(rows[30:])
    code = (
        "import json, pyarrow, pyarrow.parquet, sys\n"
        "rows = pyarrow.Table.from_pylist(json.loads(sys.argv[1]))\n"
        "pyarrow.parquet.write_table(rows, sys.argv[2])\n"
    )
    project.python_code(code, json.dumps(rows[:30]), str(held_out))
    columns = ["--data.text_column", "body", "--data.label_column", "topic"]
    return ["--data.train", str(train), "--data.eval", str(held_out), *columns]


def answers(project: Installed, folder: Path) -> list[str]:
    """Write prompts and completions; a share of them is held out by the project itself."""
    del project
    train = folder / "my answers.jsonl"
    with train.open("w", encoding="utf-8") as file:
        for number in range(160):
            thing = THINGS[number % len(THINGS)]
            row = {
                "prompt": f'Where is "{thing}" no. {number}?',
                "completion": f"Größe L: the {thing} is in hall {number % 4}.",
            }
            file.write(json.dumps(row, ensure_ascii=number % 2 == 0) + "\n")
    return ["--data.train", str(train), "--data.eval", "null", "--data.eval_fraction", "0.2"]


IMAGES = """
import sys
import numpy as np
from pathlib import Path
from PIL import Image

# shapes of light on noise: odd sizes, modes and formats, and names that a shell must quote
folder, rng = Path(sys.argv[1]), np.random.default_rng(0)
modes = [("RGB", "png"), ("L", "jpg"), ("RGBA", "png"), ("P", "gif"), ("RGB", "webp")]
for number in range(56):
    for label in sys.argv[2:]:
        width, height = 24 + number % 9, 24 + number % 7
        pixels = rng.integers(0, 60, (height, width), dtype=np.uint8)
        if label == "oben & unten":
            pixels[: height // 3] = pixels[-height // 3 :] = 230
        elif label == "Mitte (ü)":
            pixels[height // 3 : -height // 3, width // 3 : -width // 3] = 240
        else:
            pixels[:, : width // 3] = 225
        mode, kind = modes[number % len(modes)]
        part = folder / ("held out" if number < 10 else "bilder") / label
        part.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).convert(mode).save(part / f"no. {number}.{kind}")
"""
PLACES = ("Mitte (ü)", "links", "oben & unten")


def pictures(project: Installed, folder: Path) -> list[str]:
    """Write a folder for each class, and a table of other files to test on."""
    project.python_code(IMAGES, str(folder), *PLACES)
    table = folder / "held out.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label"])
        for label in PLACES:
            for path in sorted((folder / "held out" / label).iterdir()):
                writer.writerow([path.relative_to(folder), label])
    return [
        *("--data.train", str(folder / "bilder"), "--data.eval", str(table)),
        *("--model.scratch.image_size", "24", "--model.scratch.patch_size", "8"),
    ]


SOUNDS = """
import sys
import numpy as np
import soundfile
from pathlib import Path

# a low tone, a high one, and a click track: other rates, channels, lengths and formats
folder, rng = Path(sys.argv[1]), np.random.default_rng(0)
for number in range(56):
    for label in sys.argv[2:]:
        rate = (8000, 16000, 22050, 44100)[number % 4]
        time = np.arange(int(rate * (0.4 + 0.05 * (number % 5)))) / rate
        tone = {"tief": 180 + number, "hoch": 1500 + 10 * number}.get(label)
        if tone:
            sound = 0.4 * np.sin(2 * np.pi * tone * time)
        else:
            sound = 0.8 * (time % 0.1 < 0.01)
        sound = sound + rng.normal(0, 0.02, len(time))
        if number % 3 == 0:
            sound = np.stack([sound, 0.5 * sound], axis=1)
        part = folder / ("held out" if number < 10 else "töne") / label
        part.mkdir(parents=True, exist_ok=True)
        soundfile.write(part / f"no. {number}.{'flac' if number % 2 else 'wav'}", sound, rate)
"""
NOISES = ("hoch", "klick klack", "tief")


def sounds(project: Installed, folder: Path) -> list[str]:
    """Write a folder for each class, and another to test on."""
    project.python_code(SOUNDS, str(folder), *NOISES)
    return ["--data.train", str(folder / "töne"), "--data.eval", str(folder / "held out")]


def questions(project: Installed, folder: Path) -> list[str]:
    """Write images with a question and its answer; a share is held out by the project itself."""
    project.python_code(IMAGES, str(folder), *PLACES)
    train = folder / "fragen.jsonl"
    with train.open("w", encoding="utf-8") as file:
        for label in PLACES:
            for number, path in enumerate(sorted((folder / "bilder" / label).iterdir())):
                question = f"Wo ist das Licht (Nr. {number})?"
                messages = [
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": f"Größe L: {label}."},
                ]
                row = {"image": str(path.relative_to(folder)), "messages": messages}
                file.write(json.dumps(row, ensure_ascii=number % 2 == 0) + "\n")
    return ["--data.train", str(train), "--data.eval", "null", "--data.eval_fraction", "0.2"]


@dataclass(frozen=True)
class Case:
    """A task as a user meets it."""

    prepare: Callable[[Installed, Path], list[str]]
    """Writes data into a folder and returns the arguments of training that name it."""
    words: Callable[[Path], list[str]]
    """Arguments of predict.py, one for each label where there are labels."""
    inputs: Callable[[Path], list[Any]]
    """The same for the service."""
    model_class: str
    processor_class: str
    processor_file: str
    labels: tuple[str, ...] = ()


def _texts(folder: Path) -> list[str]:
    del folder
    return [text.format("lamp") for text in TOPICS.values()]


def _prompts(folder: Path) -> list[str]:
    del folder
    return ['Where is "tent" no. 6?', "Where is the Füllfederhalter?"]


def _files(*names: str) -> Callable[[Path], list[str]]:
    return lambda folder: [str(folder / "held out" / name) for name in names]


def _encoded(paths: Callable[[Path], list[str]]) -> Callable[[Path], list[str]]:
    return lambda folder: [
        base64.b64encode(Path(path).read_bytes()).decode() for path in paths(folder)
    ]


_PICTURES = _files(*(f"{place}/no. 0.png" for place in PLACES))
_SOUNDS = _files(*(f"{noise}/no. 1.flac" for noise in NOISES))
_QUESTION = "Wo ist das Licht (Nr. 3)?"

CASES = {
    "llm": Case(
        answers, _prompts, _prompts, "AutoModelForCausalLM", "AutoTokenizer", "tokenizer.json"
    ),
    "text_classification": Case(
        tickets,
        _texts,
        _texts,
        "AutoModelForSequenceClassification",
        "AutoTokenizer",
        "tokenizer.json",
        tuple(TOPICS),
    ),
    "image_classification": Case(
        pictures,
        _PICTURES,
        _encoded(_PICTURES),
        "AutoModelForImageClassification",
        "AutoImageProcessor",
        "preprocessor_config.json",
        PLACES,
    ),
    "audio_classification": Case(
        sounds,
        _SOUNDS,
        _encoded(_SOUNDS),
        "AutoModelForAudioClassification",
        "AutoFeatureExtractor",
        "preprocessor_config.json",
        NOISES,
    ),
    "multimodal": Case(
        questions,
        lambda folder: ["--image", _PICTURES(folder)[0], _QUESTION],
        lambda folder: [{"image": _encoded(_PICTURES)(folder)[0], "text": _QUESTION}],
        "AutoModelForImageTextToText",
        "AutoProcessor",
        "processor_config.json",
    ),
}


def tiny_base_model(project: Installed, folder: Path) -> str:
    """Write a small model as a hub has them, of another family than ours and without a template."""
    code = """
import sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, set_seed

folder, text = sys.argv[1:]
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
tokenizer.train([text], trainers.BpeTrainer(
    vocab_size=400, special_tokens=["<|endoftext|>"],
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")
wrapped.save_pretrained(folder)
set_seed(1)
Qwen2ForCausalLM(Qwen2Config(
    vocab_size=tokenizer.get_vocab_size(), hidden_size=64, intermediate_size=128,
    num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=256, eos_token_id=0, bos_token_id=None, initializer_range=0.2,
)).save_pretrained(folder)
"""
    project.python_code(code, str(folder), str(folder.parent / "my answers.jsonl"))
    return str(folder)
