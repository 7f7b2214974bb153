"""Measure how fast the generated projects train beside TRL and hand-written Trainer scripts.

python benchmarks/training_speed.py --python ENV/bin/python [--repeats 5] [--only chat image …]

ENV holds the packages of the generated projects' requirements.txt, and trl; all arms run in it,
one thread each, one after another, in turns. A turn that is not counted fills the caches. Ratios
are taken turn by turn; the machine's other work falls on all arms alike, and processor time, which
it hardly touches, is given beside the wall time.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from timing import command, machine

from template import BASELINES, HERE, RESULTS, ROOT, WORK, copy_template

SCRIPTS = HERE / "baselines"
RUNS, DATA = WORK / "speed-runs", WORK / "speed-data"
OURS = "this template"
LIMIT, ROWS, EVAL_ROWS = 512, 80, 8  # tokens of the longest row; rows of the ragged chats
TASKS = {  # name: (task, micro-batch, micro-batches a step, steps)
    "text": ("text_classification", 8, 4, 40),
    "image": ("image_classification", 8, 4, 40),
    "audio": ("audio_classification", 8, 2, 40),
    "multimodal": ("multimodal", 4, 2, 25),
}
NAMES = ("chat", *TASKS)


@dataclass(frozen=True)
class Timed:
    """One run, from its start and from its first step to its last, in seconds."""

    first_step: float
    first_step_processor: float
    rest: float
    rest_processor: float
    steps: int
    """After the first."""

    @classmethod
    def read(cls, file: Path) -> Timed:
        """From what step_times.py wrote."""
        times = json.loads(file.read_text("utf-8"))
        (first, first_cpu), (last, last_cpu) = times[0], times[-1]
        return cls(first, first_cpu, last - first, last_cpu - first_cpu, len(times) - 1)


Arm = tuple[Path, Sequence[str | Path]]
"""Where it runs, and what."""
Value = Callable[[Timed], float]


def main() -> None:
    """Measure the wanted tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    # its path, not what a link points to: an environment's Python is a link
    parser.add_argument("--python", type=Path, default=BASELINES / "bin/python")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    options = parser.parse_args()
    python = options.python.absolute()

    template = WORK / "speed-template"
    shutil.rmtree(template, ignore_errors=True)
    copy_template(template)
    for folder in (RUNS, DATA):
        folder.mkdir(parents=True, exist_ok=True)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"training-speed-{datetime.now(UTC):%Y-%m-%d}.md"
    parts = [heading(python, sys.argv[1:])]
    for name in options.only:
        parts.append(
            chat(python, template, options.repeats)
            if name == "chat"
            else other_task(python, template, name, options.repeats)
        )
        print(parts[-1], file=sys.stderr)
        target.write_text("\n".join(parts), "utf-8")  # an hour's work: what is done is kept
    print(f"written to {target.relative_to(ROOT)}", file=sys.stderr)


def heading(python: Path, arguments: Sequence[str]) -> str:
    """Say what was run, on what, with which versions."""
    names = ("torch", "transformers", "trl", "accelerate", "datasets")
    code = (
        "from importlib.metadata import version as v\n"
        f"print(', '.join(f'{{n}}=={{v(n)}}' for n in {names}))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    given = " ".join(arguments).replace(str(python), "ENV/bin/python")
    call = f"python benchmarks/training_speed.py {given}"
    return (
        f"# Speed of training, {datetime.now(UTC):%Y-%m-%d}\n\n`{call}`, on {machine()}. "
        f"{done.stdout.strip()}, copier=={importlib.metadata.version('copier')}. fp32, one thread "
        "for each arm, which ran one after another in turns; the machine had other work. Above 1 "
        "is faster. A ratio is the median over the turns, with the lowest and the highest.\n"
    )


def chat(python: Path, template: Path, repeats: int) -> str:
    """Conversations of ragged length: tokens a second, and the time to the first step."""
    project, base = prepared(python, template, "llm")
    train, held_out = ragged_chats(project)
    common = {
        "data.train": train,
        "data.eval": held_out,
        "train.epochs": 1,
        "train.max_seq_len": LIMIT,
        "train.loss_head": "full",
    }

    def trl(*flags: str) -> list[str | Path]:
        files = {"model": base, "train": train, "eval": held_out, "output": RUNS / "trl"}
        given = [part for name, file in files.items() for part in (f"--{name}", file)]
        return [SCRIPTS / "trl_sft.py", *given, "--max-length", str(LIMIT), *flags]

    plain = [SCRIPTS / "trainer_script.py", *trl()[1:]]
    packed = {"train.packing": "true", "train.micro_batch_size": 2, "train.global_batch_size": 4}
    unpacked = {"train.packing": "false", "train.micro_batch_size": 4, "train.global_batch_size": 8}
    arms: dict[str, Arm] = {
        OURS: (project, ours(base, {**common, **packed})),
        "this template, without packing": (project, ours(base, {**common, **unpacked})),
        "TRL, as it comes": (HERE, trl()),
        "TRL with packing": (HERE, trl("--packing", "--micro-batch-size", "2")),
        "plain Trainer": (HERE, plain),
    }
    timed = in_turns(python, arms, repeats)
    return "\n".join(
        [
            "## Chats of ragged length\n",
            f"{ROWS} conversations, log-normal lengths up to {LIMIT} tokens; 4 layers of 256, "
            "4,096 tokens of vocabulary; 2 micro-batches of 4 rows a step, or of 2 packed "
            f"sequences of {LIMIT}; one pass. Useful tokens a second: those of the rows, without "
            "padding, for each second of training; every arm trains on the same rows, so it is "
            "one over the time. `as it comes` but for precision, batch, length and gradient "
            "checkpointing, which are made the same for all.\n",
            # all but the first step's share of the pass
            ratios(timed, "useful tokens a second", lambda t: t.rest * (t.steps + 1) / t.steps),
            ratios(
                timed,
                "the same, processor time",
                lambda t: t.rest_processor * (t.steps + 1) / t.steps,
            ),
            ratios(timed, "from the command to the first step's end", lambda t: t.first_step),
            ratios(timed, "the same, processor time", lambda t: t.first_step_processor),
        ]
    )


def other_task(python: Path, template: Path, name: str, repeats: int) -> str:
    """One of the tasks whose rows are not chats."""
    task, micro, accumulation, steps = TASKS[name]
    project, base = prepared(python, template, task)
    file = next((project / "data/sample").glob("train.*"))
    keys = {
        "data.train": file,
        "train.max_steps": steps,
        "train.micro_batch_size": micro,
        "train.global_batch_size": micro * accumulation,
    }
    baseline: list[str | Path] = [SCRIPTS / "trainer_tasks.py", task, "--model", base]
    baseline += ["--train", file, "--output", RUNS / name, "--steps", str(steps)]
    baseline += ["--micro-batch-size", str(micro), "--accumulation", str(accumulation)]
    arms: dict[str, Arm] = {OURS: (project, ours(base, keys)), "plain Trainer": (HERE, baseline)}
    timed = in_turns(python, arms, repeats)
    return "\n".join(
        [
            f"## {task}\n",
            f"The project's sample and small model, {accumulation} micro-batches of {micro} a "
            f"step, {steps} steps, the same augmentation.\n",
            ratios(timed, "steps a second", lambda t: t.rest / t.steps),
            ratios(timed, "the same, processor time", lambda t: t.rest_processor / t.steps),
            ratios(timed, "from the command to the first step's end", lambda t: t.first_step),
        ]
    )


# ── How it is measured ──


def in_turns(python: Path, arms: Mapping[str, Arm], repeats: int) -> dict[str, list[Timed]]:
    """Run all arms one after another, `repeats` times and once before."""
    timed: dict[str, list[Timed]] = {name: [] for name in arms}
    times = RUNS / "times.json"
    for turn in range(repeats + 1):
        for name, (folder, arguments) in arms.items():
            call = [python, HERE / "step_times.py", times, *arguments]
            command(call, folder, environment(folder))()
            one = Timed.read(times)
            print(f"  {turn}/{repeats} {name}: {one}", file=sys.stderr, flush=True)
            if turn:
                timed[name].append(one)
    return timed


def ratios(timed: Mapping[str, list[Timed]], title: str, seconds: Value) -> str:
    """A Markdown table: our speed over that of each other arm, turn by turn."""
    lines = [
        f"| {title} | median s | ours / this: median | lowest | highest |",
        "|---|" + "---:|" * 4,
    ]
    mine = [seconds(one) for one in timed[OURS]]
    for name, runs in timed.items():
        theirs = [seconds(one) for one in runs]
        each = [b / a for a, b in zip(mine, theirs, strict=True)]
        lines.append(
            f"| {name} | {statistics.median(theirs):.2f} | {statistics.median(each):.2f} "
            f"| {min(each):.2f} | {max(each):.2f} |"
        )
    return "\n".join([*lines, ""])


def environment(folder: Path) -> dict[str, str]:
    """One thread; the project's package is found beside its scripts."""
    path = os.pathsep.join(filter(None, [str(folder / "src"), os.environ.get("PYTHONPATH", "")]))
    return {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": path}


# ── What is trained ──


def ours(base: str | Path, keys: Mapping[str, Any]) -> list[str | Path]:
    """Return the project's training command."""
    keys = {
        "model.name_or_path": base,
        "train.output_dir": RUNS / "ours",
        "train.learning_rate": 1e-3,
        "train.log_every": 5,
        "train.save_every": 10_000,
        "train.eval_every": "null",
        "train.resume": "never",
        **keys,
    }
    flags = [str(part) for key, value in keys.items() for part in (f"--{key}", value)]
    return ["scripts/train.py", "--config", "configs/train.yaml", *flags]


def prepared(python: Path, template: Path, task: str) -> tuple[Path, Path]:
    """Generate a project, and make the model that all arms start from: our small random one."""
    project, base = WORK / f"speed-{task}", WORK / f"speed-base-{task}"
    for folder in (project, base, RUNS / "base"):
        shutil.rmtree(folder, ignore_errors=True)
    answers = {
        "project_name": "Speed",
        "package_name": "speed",
        "task": task,
        "base_model": "scratch",
        "strategy": "full",
        "gpu": "none",
    }
    data = [f"--data={key}={value}" for key, value in answers.items()]
    copy = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults", "--quiet", *data]
    command([*copy, template, project], ROOT, {"ML_TEMPLATE_HOOKS": "off"})()
    keys = {"train.output_dir": RUNS / "base", "train.max_steps": 1, "train.learning_rate": 1e-9}
    keys["train.max_seq_len"] = max(LIMIT, 1024 if task == "multimodal" else 0)
    command([python, *ours("scratch", keys)], project, environment(project))()
    command([python, "-m", "compileall", "-q", "src"], project)()
    shutil.copytree(RUNS / "base/final", base)
    return project, base


def ragged_chats(project: Path) -> tuple[Path, Path]:
    """Write conversations of log-normal length, from the words of the project's sample."""
    lines = (project / "data/sample/train.jsonl").read_text("utf-8").splitlines()
    words = [
        word
        for line in lines
        for message in json.loads(line).get("messages", ())
        for word in message["content"].split()
    ]
    rng = random.Random(0)
    files = []
    for name, count in (("train", ROWS), ("eval", EVAL_ROWS)):
        file = DATA / f"{name}.jsonl"
        rows = []
        for _ in range(count):
            # about 1.3 tokens a word: a median of 90 and, with the template's, LIMIT at most
            total = min(330, max(8, round(rng.lognormvariate(4.25, 0.8))))
            start, asked = rng.randrange(len(words) - total), max(3, total // 3)
            said = words[start : start + total]
            question, answer = " ".join(said[:asked]), " ".join(said[asked:])
            messages = [
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ]
            rows.append(json.dumps({"messages": messages}))
        file.write_text("\n".join(rows) + "\n", "utf-8")
        files.append(file)
    return files[0], files[1]


if __name__ == "__main__":
    main()
