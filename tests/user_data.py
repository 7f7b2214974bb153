"""Data and models as users bring them: other formats, odd characters, other columns."""

from __future__ import annotations

import csv
import json
from pathlib import Path

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
