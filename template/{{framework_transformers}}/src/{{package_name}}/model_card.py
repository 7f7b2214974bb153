"""The model card, README.md beside the weights: what the model is, from what, and how good.

Its head is the metadata that the Hugging Face Hub reads. What people write between the two marks
stays when the card is written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard, hf_hub_download

from . import hub
from .checkpoints import CARD
from .data import TASK
from .evaluated import other_rows
from .model import AUTO_CLASS
from .processor import PROCESSOR_CLASS
from .progress import final_evaluation
from .runs import read_json
from .settings import read_yaml

BEGIN, END = "<!-- yours: kept when this card is written again -->", "<!-- end of yours -->"
YOURS = """
## Intended use

To be written by you: what the model is for, for whom, and what it must not be used for.

## Licence

To be written by you: the terms of this model, which those of the base model and of the data allow.

## Limits

To be written by you: where it fails, which groups or languages the data lacks, what was not tested.
"""
SCRATCH = "scratch"
PIPELINES = {"llm": "text-generation", "multimodal": "image-text-to-text"}
SETTINGS = (
    *("learning_rate", "schedule", "global_batch_size", "max_seq_len", "weight_decay", "seed"),
    *("epochs", "max_steps"),
)
FACTS = {
    "steps": "steps",
    "final_step": "step of these weights",
    "precision": "precision",
    "trained_parameters": "trained parameters",
    "parameters": "parameters",
    "device": "device",
    "processes": "processes",
    "seconds": "seconds",
    "torch": "PyTorch",
    "transformers": "Transformers",
    "peft": "PEFT",
    "git_commit": "git commit",
    "git_dirty": "uncommitted changes",
}
METRIC_TYPES = {"eval_loss": "loss", "eval_macro_f1": "f1"}


def write_card(folder: Path, run: Path, *earlier: Path, loading: str | None = None) -> None:
    """Write README.md into `folder`, a model of the run; `earlier` cards may hold your part."""
    record = read_json(run / "run.json")
    config = read_yaml(run / "config.yaml") if (run / "config.yaml").is_file() else {}
    metrics = final_evaluation(run)
    is_adapter = (folder / "adapter_config.json").is_file()
    title = run.resolve().name
    head = yaml.safe_dump(
        _metadata(config, metrics, title, is_adapter), sort_keys=False, allow_unicode=True
    )
    parts = [
        f"---\n{head}---",
        f"# {title}",
        _summary(config, record, is_adapter),
        f"{BEGIN}\n{_kept(earlier)}\n{END}",
        "## How to load it",
        loading or _loading(folder, is_adapter),
        "## Evaluation",
        _evaluation(metrics, record, read_json(run / "evaluation.json")),
        "## Training",
        _training(config, record),
    ]
    (folder / CARD).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _metadata(
    config: Mapping[str, Any], metrics: Mapping[str, float], title: str, is_adapter: bool
) -> dict[str, Any]:
    pipeline = PIPELINES.get(TASK, TASK.replace("_", "-"))
    base = _base(config)
    data = _data(config, "train")
    is_hub_data = data.startswith("hub:")
    head: dict[str, Any] = {
        "library_name": "peft" if is_adapter else "transformers",
        "pipeline_tag": pipeline,
    }
    licence = _licence(config)
    if licence:
        head["license"] = licence
    if base:
        head |= {"base_model": base, "base_model_relation": "adapter" if is_adapter else "finetune"}
    if is_hub_data:
        head["datasets"] = [data.removeprefix("hub:")]
    names = {name: METRIC_TYPES.get(name, name.removeprefix("eval_")) for name in metrics}
    if metrics:
        head["metrics"] = sorted(set(names.values()))
        evaluated = _data(config, "eval")
        head["model-index"] = [
            {
                "name": title,
                "results": [
                    {
                        "task": {"type": pipeline},
                        "dataset": {"name": evaluated, "type": evaluated.removeprefix("hub:")},
                        "metrics": [
                            {"type": names[name], "name": name, "value": value}
                            for name, value in metrics.items()
                        ],
                    }
                ],
            }
        ]
    return head


def _licence(config: Mapping[str, Any]) -> str | None:
    """The base model's licence, where its own card is at hand and says one."""
    name = str(config.get("model", {}).get("name_or_path", SCRATCH))
    card = Path(name) / CARD
    try:
        if _base(config):
            revision = config["model"].get("revision")
            offline = not hub.is_reachable()
            card = Path(hf_hub_download(name, CARD, revision=revision, local_files_only=offline))
        return ModelCard.load(card).data.license if card.is_file() else None
    except Exception:  # whatever is wrong with a card of others, the run is done and is kept
        return None


def _base(config: Mapping[str, Any]) -> str | None:
    """The base model's hub id; None for random weights and for a folder of this machine."""
    name = str(config.get("model", {}).get("name_or_path", SCRATCH))
    is_local = name.startswith((".", "/", "~")) or Path(name).exists() or "\\" in name
    return None if name == SCRATCH or is_local else name


def _data(config: Mapping[str, Any], split: str) -> str:
    """A hub id after `hub:`, else the file's name: folders tell of the machine and its users."""
    given = config.get("data", {}).get(split)
    if given is None:
        return "rows split off the training data" if split == "eval" else "unknown"
    text = str(given)
    looks_local = Path(text).suffix or text.startswith((".", "/", "~")) or Path(text).exists()
    return Path(text).name if looks_local else f"hub:{text}"


def _summary(config: Mapping[str, Any], record: Mapping[str, Any], is_adapter: bool) -> str:
    base = _base(config)
    name = str(config.get("model", {}).get("name_or_path", SCRATCH))
    if base:
        commit = record.get("base_commit") or config.get("model", {}).get("revision")
        at = f" at {commit}" if commit else ""
        origin = f"`{base}`{at}; its licence binds this model too"
    else:
        origin = "random weights" if name == SCRATCH else f"a local model called {Path(name).name}"
    how = "LoRA adapters for" if is_adapter else "A model trained from"
    rows = f"{record.get('train_rows', 'an unknown number of')} rows"
    return (
        f"{how} {origin}. Task: {TASK.replace('_', ' ')}; strategy: "
        f"{record.get('strategy', 'unknown')}; trained on {rows} of "
        f"{_data(config, 'train').removeprefix('hub:')} "
        f"(SHA-256 of the data: `{record.get('data_sha256', 'unknown')}`)."
    )


def _kept(earlier: tuple[Path, ...]) -> str:
    """What people wrote into the first card that has something, else the placeholders."""
    for path in earlier:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:  # mostly: there is none yet
            continue
        _, begin, rest = text.partition(BEGIN)
        yours, end, _ = rest.partition(END)
        if begin and end and yours.strip() != YOURS.strip():
            return yours.strip("\n")
    return YOURS


def _loading(folder: Path, is_adapter: bool) -> str:
    if is_adapter:
        # class names and limits are in config.json; the project's own loader puts all together
        lines = [
            f"from {__package__}.predictor import PROBES, Predictor",
            "",
            "predictor = Predictor.load(folder)  # pathlib.Path: where this file is",
            "scores = predictor.logits(PROBES)",
        ]
        note = "With this project; `make export` writes a model that needs nothing else."
    else:
        model, processor = AUTO_CLASS.__name__, PROCESSOR_CLASS.__name__
        lines = [
            f"from transformers import {', '.join(sorted((model, processor)))}",
            "",
            f"model = {model}.from_pretrained(folder)  # where this file is",
            f"processor = {processor}.from_pretrained(folder)",
        ]
        note = "With Transformers alone."
    return f"{note}\n\n```python\n" + "\n".join(lines) + "\n```"


def _evaluation(
    metrics: Mapping[str, float], record: Mapping[str, Any], report: Mapping[str, Any]
) -> str:
    if not metrics:
        return "Not evaluated while it was trained."
    rows = [f"| {name.removeprefix('eval_')} | {value:.4f} |" for name, value in metrics.items()]
    trivial = report.get("majority_class_accuracy")  # known once `make evaluate` has run
    if trivial is not None and not other_rows(record, report):
        rows.append(f"| accuracy of always answering the commonest class | {trivial:.4f} |")
    held_out = f"On {record.get('eval_rows', 'the')} held-out rows:"
    return "\n".join([held_out, "", "| metric | value |", "|---|---|", *rows])


def _training(config: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    options = config.get("train", {})
    idle = "epochs" if options.get("max_steps") else None  # max_steps ended the training
    keys = [key for key in SETTINGS if options.get(key) and key != idle]
    rows = [f"| `train.{key}` | {options[key]} |" for key in keys]
    rows += [f"| {title} | {record[key]} |" for key, title in FACTS.items() if key in record]
    return "\n".join(["| | |", "|---|---|", *rows])
