"""Is the training right? Print a table of properties, ours beside what one would use instead.

python benchmarks/correctness.py [--work FOLDER] [--only ours trainer trl]

Generates a project for every task, strategy and parallelism that a line needs, and runs each
property in it; then the same in `transformers.Trainer` and TRL's `SFTTrainer`, on the same small
models and rows, on a CPU. Writes results/. Ends with 1 where a property of ours does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from timing import command, machine

from template import ROOT, WORK, copy_template

RESULTS = Path(__file__).resolve().parent / "results"
PROOFS = Path(__file__).resolve().parent / "proofs"
ENVIRONMENT = WORK / "correctness-environment"
TRL = "trl==1.16.0"
TASKS = (
    *("llm", "text_classification", "image_classification"),
    *("audio_classification", "multimodal"),
)
PAIR = {"gpu": "A100-80GB", "gpu_count": "2"}
ADAPTED = {"base_model": str(WORK / "base-of-adapters")}  # its place is given when it runs
PROJECTS: Mapping[str, Mapping[str, str]] = {
    **{task: {"task": task} for task in TASKS},
    "llm-ddp": {"task": "llm", **PAIR, "parallelism": "ddp"},
    "llm-fsdp": {"task": "llm", **PAIR, "parallelism": "fsdp"},
    "text_classification-ddp": {"task": "text_classification", **PAIR, "parallelism": "ddp"},
    "llm-lora": {"task": "llm", **ADAPTED, "strategy": "lora"},
    "llm-qlora": {"task": "llm", **ADAPTED, "strategy": "qlora"},
}
NOT_RUN = "not run"


@dataclass(frozen=True)
class Line:
    """A property: what it is called in the answers, how it reads, and the project's test of it."""

    key: str
    text: str
    test: str
    without: str = NOT_RUN
    """What stands where a tool gave no answer."""


ACCUMULATION = "test_accumulation.py::test_gradient_does_not_depend_on_the_micro_batch"
RESUME = "test_resume.py::test_run_killed_between_checkpoints_equals_an_uninterrupted_one"
ANSWERS = "test_data.py::test_only_answers_and_their_end_are_learnt"
TWO = (
    "test_parallel.py::"
    "test_two_processes_compute_what_one_computes_and_either_goes_on_from_the_other"
)
HEADS = {
    "llm": "causal language model",
    "bert": "BERT, sequence classification",
    "modernbert": "ModernBERT, sequence classification",
    "distilbert": "DistilBERT, sequence classification",
    "llama": "Llama, sequence classification",
    "image_classification": "ViT, image classification",
    "audio_classification": "AST, audio classification",
    "multimodal": "LLaVA, images and text",
}
GROUPS: Mapping[str, Sequence[Line]] = {
    "Gradient accumulation: norm of the gradient of 16 ragged rows as 8 x 2 over that as 1 x 16": [
        *(Line(f"accumulation {key}", text, ACCUMULATION) for key, text in HEADS.items()),
        Line(
            "accumulation bert, remedy",
            "BERT, with the subclass that says `loss_is_scaled_for_ga = False`",
            ACCUMULATION,
            "",
        ),
        Line("two processes ddp llm", "two processes over one, causal language model", TWO),
        Line("two processes ddp text_classification", "two processes over one, BERT", TWO),
        Line("two processes fsdp llm", "the same with FSDP", TWO),
    ],
    "What the model learns from (chats of the sample; share of tokens or rows)": [
        Line(
            "packed",
            "packed and unpacked documents: largest difference of logits",
            "test_packing.py::test_packed_logits_equal_those_of_each_document_alone",
        ),
        Line("prompt", "prompt tokens with a loss", ANSWERS),
        Line(
            "end of turn",
            "ends of answers with a loss",
            ANSWERS,
        ),
        Line(
            "rewritten",
            "tokens with a loss in earlier answers that the template shortens",
            "test_answers.py::test_earlier_answer_that_the_template_shortens_has_no_loss",
        ),
        Line(
            "cut answers",
            "kept rows that end within an answer, at 80 tokens",
            "test_data.py::test_long_conversation_is_cut_after_the_last_answer_that_fits",
        ),
        Line(
            "all cut",
            "no answer fits (4 tokens)",
            "test_answers.py::test_rows_whose_first_answers_are_all_too_long_are_refused",
        ),
        Line(
            "evaluation",
            "evaluation loss 1 and 8 rows at a time: relative difference",
            "test_accumulation.py::test_evaluation_does_not_depend_on_the_micro_batch",
        ),
        Line(
            "master weights",
            "type of the trained weights, folder of bf16, mixed precision",
            "test_accumulation.py::test_weights_in_bf16_are_trained_in_fp32",
        ),
    ],
    "Killed in the middle of an epoch and started again: largest difference of final weights": [
        Line("resume llm", "llm (dropout, shuffled; packed: ours and TRL)", RESUME),
        *(
            Line(f"resume {task}", f"{task} (dropout, shuffled{more})", RESUME)
            for task, more in zip(TASKS[1:], ("", ", augmented", ", augmented", ""), strict=True)
        ),
    ],
    "When something goes wrong": [
        Line(
            "not finite",
            "loss or gradient not finite",
            "test_stops.py::test_loss_that_is_not_finite_stops_and_names_the_rows",
        ),
        Line(
            "terminated",
            "SIGTERM",
            "test_stops.py::test_terminated_process_saves_a_checkpoint_and_exits_75",
        ),
        Line(
            "two terminated",
            "SIGTERM with two processes",
            "test_parallel.py::test_all_processes_stop_after_the_same_step_and_go_on",
        ),
        Line(
            "out of memory",
            "memory for 2 of 8 rows only",
            "test_memory.py::"
            "test_memory_that_runs_out_halves_the_micro_batch_and_changes_nothing_else",
        ),
        Line(
            "damaged",
            "newest checkpoint cut in half (of steps 2 and 4)",
            "test_checkpoints.py::test_damaged_newest_is_passed_over",
        ),
        Line(
            "disk full",
            "no space for the second checkpoint",
            "test_resume.py::test_full_disk_leaves_the_checkpoint_before_whole",
        ),
        Line(
            "configuration",
            'learning_rate="1e-4"; a misspelt key',
            "test_config.py::test_unknown_key_names_the_nearest",
        ),
    ],
    "Files": [
        Line(
            "pickles",
            "files that are pickles",
            "test_training.py::test_run_leaves_what_the_readme_says",
        ),
        *(
            Line(
                f"merged {strategy}",
                f"{strategy}: exported and trained model, largest difference of scores",
                "test_use.py::test_export_predicts_like_the_original",
            )
            for strategy in ("full", "lora", "qlora")
        ),
    ],
}


def main() -> int:
    """Run what is wanted and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, default=WORK / "correctness", help="kept between runs")
    parser.add_argument("--only", nargs="+", choices=("ours", "trainer", "trl"))
    options = parser.parse_args()
    work, wanted = options.work.resolve(), options.only or ("ours", "trainer", "trl")
    python = prepare_environment()
    if "ours" in wanted:
        ours(python, work)
    for tool in ("trainer", "trl"):
        if tool in wanted:
            chats = work / "projects" / "llm" / "data/sample/train.jsonl"
            probe(python, PROOFS / "baselines.py", tool, work, chats)
    answers = {"ours": gathered(work), **{t: read(work / f"{t}.json") for t in ("trainer", "trl")}}
    report = f"{heading(python)}\n{table(answers)}"
    print(report)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"correctness-{datetime.now(UTC):%Y-%m-%d}.md"
    target.write_text(report, "utf-8")
    failed = [key for key, (held, _) in answers["ours"].items() if not held]
    if failed:
        print(f"does not hold: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def prepare_environment() -> Path:
    """All pinned packages and TRL in one environment; its Python."""
    python = ENVIRONMENT / "bin/python"
    if (ENVIRONMENT / ".done").is_file():
        return python
    sys.path.insert(0, str(ROOT / "template" / "scripts"))
    # uv does not read pip's configuration; the project's own scripts know how to pass it on
    from machine import pip_config  # type: ignore[import-not-found]

    pip = pip_config.parse(pip_config.read(ROOT))
    environment = {**os.environ, **pip_config.for_uv(pip, os.environ)}
    command(["uv", "venv", "--clear", "--python", "3.11", ENVIRONMENT], ROOT, environment)()
    install = ["uv", "pip", "install", "--python", str(python), "--compile-bytecode"]
    locks = str(ROOT / "locks/transformers.txt")
    command([*install, "-r", locks, TRL], ROOT, environment)()
    (ENVIRONMENT / ".done").write_text("")
    return python


def ours(python: Path, work: Path) -> None:
    """Generate every project and ask it."""
    template = work / "template"
    shutil.rmtree(work, ignore_errors=True)
    copy_template(template)
    copy = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults", "--quiet"]
    plain = {"project_name": "Proof", "gpu": "none", "base_model": "scratch", "strategy": "full"}
    off = {"ML_TEMPLATE_HOOKS": "off"}
    for name, answers in PROJECTS.items():
        data = [f"--data={key}={value}" for key, value in (plain | dict(answers)).items()]
        project = work / "projects" / name
        command([*copy, "--skip-tasks", *data, template, project], ROOT, off)()
        probe(python, PROOFS / "ours.py", name, work, cwd=project)


def probe(python: Path, script: Path, *words: str | Path, cwd: Path = ROOT) -> None:
    """Run a script of proofs/ for the answers that it writes; it shows them as they come."""
    offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment = {**os.environ, **offline, "PYTHONPATH": f"src{os.pathsep}{PROOFS}"}
    done = subprocess.run(
        [python, script, *words], cwd=cwd, env=environment, text=True, capture_output=True
    )
    shown = [x for x in done.stdout.splitlines() if ": holds: " in x or "does not hold: " in x]
    print("\n".join([f"== {script.stem} {words[0]}", *shown]), file=sys.stderr)
    if done.returncode:
        raise SystemExit(done.stderr)


def read(file: Path) -> dict[str, tuple[bool, str]]:
    """The answers in a file, if it is there."""
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}


def gathered(work: Path) -> dict[str, tuple[bool, str]]:
    """Our answers, of all projects."""
    return {
        key: answer for name in PROJECTS for key, answer in read(work / name / "ours.json").items()
    }


def heading(python: Path) -> str:
    """Say what was run, on what, with which versions."""
    names = ("torch", "transformers", "trl", "accelerate", "peft")
    code = f"import importlib.metadata as m; print(*(n + '==' + m.version(n) for n in {names}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return (
        f"# Is the training right? {datetime.now(UTC):%Y-%m-%d}\n\n"
        f"`python benchmarks/correctness.py`, on a CPU of {machine()}. "
        f"{', '.join(done.stdout.split())}.\n\n"
        "All columns train the same small random models on the same rows of the sample data, with "
        "their defaults unless a cell says otherwise. ✗: the property does not hold. "
        "Each line is also a test of the generated projects that it applies to, named last; it is "
        "in their `tests/`.\n"
    )


def table(answers: Mapping[str, Mapping[str, tuple[bool, str]]]) -> str:
    """One table a group."""
    parts = []
    for title, lines in GROUPS.items():
        parts.append(f"## {title}\n")
        parts.append("| property | ours | transformers.Trainer | TRL SFTTrainer | test |")
        parts.append("|---|---|---|---|---|")
        for line in lines:
            cells = []
            for found in answers.values():
                held, text = found.get(line.key, (True, line.without))
                cells.append(text.replace("|", "/") if held else f"✗ {text.replace('|', '/')}")
            parts.append(f"| {line.text} | {' | '.join(cells)} | `{line.test}` |")
        parts.append("")
    return "\n".join(parts)


if __name__ == "__main__":
    raise SystemExit(main())
