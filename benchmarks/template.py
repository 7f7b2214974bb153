"""Measure the template beside what one would use instead; print tables and write results/.

python benchmarks/template.py [--repeats 5] [--steps 20] [--suite] [--only render advice …]

Everything of one table is measured in turns in one run, so the ratios hold where the seconds,
which are those of this machine at this hour, do not. Projects and environments are made once in
benchmarks/.work/.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from timing import Work, command, machine, table, take_turns

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WORK = HERE / ".work"
RESULTS = HERE / "results"
PROJECT = WORK / "project"
BASELINES = WORK / "baselines"
PACKAGE = "ticket_router"
ANSWERS = {"project_name": "Ticket router", "gpu": "none", "author_name": "Ada", "author_email": ""}
Cases = Sequence[tuple[Mapping[str, Any], Sequence[str]]]
"""Answers, and the GPUs of the machine."""
TABLES = ("render", "advice", "imports", "training")


def main() -> None:
    """Measure the wanted tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="trained to measure one step")
    parser.add_argument("--suite", action="store_true", help="also run make test, once")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=TABLES)
    options = parser.parse_args()

    parts = []
    if "render" in options.only:
        parts.append(render(options.repeats))
    if "advice" in options.only:
        parts.append(advice(options.repeats))
    if {"imports", "training"} & set(options.only):
        prepare_project()
    if "imports" in options.only:
        parts.append(imports(options.repeats))
    if "training" in options.only:
        parts += training(options.repeats, options.steps)
    if options.suite:
        parts.append(suite())
    report = "\n".join([heading(sys.argv[1:]), *parts])
    print(report)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}.md"
    target.write_text(report, "utf-8")
    print(f"written to {target.relative_to(ROOT)}", file=sys.stderr)


def heading(arguments: Sequence[str]) -> str:
    """Say what was run, on what, with which versions."""
    text = (ROOT / "locks/transformers.txt").read_text("utf-8")
    names = ("torch", "transformers", "tokenizers", "pydantic-settings")
    pins = [re.search(rf"(?m)^{name}==\S+", text) for name in names]
    versions = [pin[0] for pin in pins if pin]
    if (found := baseline_versions()) is not None:
        versions += found
    call = " ".join(["python benchmarks/template.py", *arguments])
    return (
        f"# Measurements of {datetime.now(UTC):%Y-%m-%d}\n\n`{call}`, on {machine()}. "
        f"{', '.join(versions)}.\n\nMeasured in turns; read the ratios, the seconds are this "
        "machine's.\n"
    )


def render(repeats: int) -> str:
    """`copier copy` without hooks, and the context hook's part in it."""
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "template"
        copy_template(template)
        target = Path(folder) / "project"
        # Copier clones, so there is never bytecode.
        off = {"ML_TEMPLATE_HOOKS": "off", "PYTHONDONTWRITEBYTECODE": "1"}
        copy = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults", "--quiet"]

        def hook() -> float:
            shutil.rmtree(target, ignore_errors=True)
            done = subprocess.run(
                [sys.executable, HERE / "hook_time.py", template, target],
                env={**os.environ, **off},
                capture_output=True,
                text=True,
                check=True,
            )
            return float(done.stdout.split()[-1])

        def whole() -> float:
            shutil.rmtree(target, ignore_errors=True)
            return command([*copy, template, target], ROOT, off)()

        nothing = command([sys.executable, "-c", "import copier.cli"], ROOT)
        series = take_turns(
            {
                "copier copy, default answers, hooks off": whole,
                "of it: starting Copier": nothing,
                "of it: the context hook and its advice (processor time)": hook,
            },
            repeats,
        )
    return table("Rendering", series)


def advice(repeats: int) -> str:
    """All advice for one set of answers, as a question asks it: the slowest of many sets."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from advising import OFFERED, advise, estimate, recommended
    from scenarios import SCENARIOS

    def seconds(answers: Mapping[str, Any], gpus: Sequence[str] = ()) -> float:
        started = time.process_time()
        given = advise(detected=lambda: gpus, **answers)
        for name in dir(given):
            if not name.startswith("_"):
                value = getattr(given, name)
                if callable(value):
                    choices = "parallelism" if name.startswith("parallelism") else "strategy"
                    for choice in OFFERED[choices]:
                        value(choice)
        return time.process_time() - started

    hardware = [
        {"task": task, "gpu": gpu, "gpu_count": count, "budget_usd": budget, "base_model": model}
        for task, models in recommended().items()
        for gpu in ("none", *estimate().gpus())
        for count in ((1, 2, 8) if gpu != "none" else (1,))
        for budget in (0, 100)
        for model in (models[-1], "")
    ]
    cases: dict[str, Cases] = {
        f"the slowest of {len(SCENARIOS)} scenarios": [(s.given, s.gpus) for s in SCENARIOS],
        f"the slowest of {len(hardware)} tasks, GPUs, numbers, budgets": [
            (answers, ()) for answers in hardware
        ],
    }

    def slowest(sets: Cases) -> float:
        first = sorted(sets, key=lambda one: seconds(*one))
        return max(min(seconds(*one) for _ in range(5)) for one in first[-10:])

    series = take_turns({name: partial(slowest, sets) for name, sets in cases.items()}, repeats)
    return table("All advice for a set of answers (processor time)", series)


def imports(repeats: int) -> str:
    """Start-up of Python with one import, in the project's environment and the baselines'."""
    python = PROJECT / ".venv/bin/python"
    ours = {
        f"{PACKAGE}.config": "what `--help` and a wrong option wait for",
        f"{PACKAGE}.training": "what training waits for",
        f"{PACKAGE}.predictor": "what predict and the service wait for",
    }
    works = {"python alone": command([python, "-c", "pass"], PROJECT)}
    for module in ("torch", "transformers", *ours):
        why = f" ({ours[module]})" if module in ours else ""
        works[f"import {module}{why}"] = command([python, "-c", f"import {module}"], PROJECT)
    if prepare_baselines():
        other = BASELINES / "bin/python"
        for statement in ("from transformers import Trainer", "from trl import SFTTrainer"):
            works[statement] = command([other, "-c", statement], PROJECT)
    return table("Imports", take_turns(works, repeats))


def training(repeats: int, steps: int) -> list[str]:
    """From the command to the end of one trained step, and the time of a further step."""
    base, runs = WORK / "base", WORK / "runs"
    data = PROJECT / "data/sample"
    train, held_out = data / "train.jsonl", data / "eval.jsonl"
    make_base(base)

    def ours(number: int) -> list[str | Path]:
        keys = {
            "model.name_or_path": base,
            "data.train": train,
            "data.eval": held_out,
            "train.output_dir": runs / "ours",
            "train.max_steps": number,
            "train.micro_batch_size": 4,
            "train.global_batch_size": 8,
            "train.max_seq_len": 256,
            "train.packing": "false",
            "train.learning_rate": 1e-3,
            "train.log_every": 5,
            "train.save_every": number,
            "train.eval_every": "null",
            "train.resume": "never",
        }
        flags = [str(part) for key, value in keys.items() for part in (f"--{key}", value)]
        python = PROJECT / ".venv/bin/python"
        return [python, "scripts/train.py", "--config", "configs/train.yaml", *flags]

    def baseline(name: str, number: int) -> list[str | Path]:
        script = HERE / "baselines" / f"{name}.py"
        files: list[str | Path] = [
            "--model",
            base,
            "--train",
            train,
            "--eval",
            held_out,
            "--output",
            runs / name,
        ]
        return [BASELINES / "bin/python", script, *files, "--steps", str(number)]

    commands: dict[str, Callable[[int], list[str | Path]]] = {
        "this template, scripts/train.py": ours
    }
    if prepare_baselines():
        commands["hand-written, transformers.Trainer"] = partial(baseline, "trainer_script")
        commands["TRL, SFTTrainer"] = partial(baseline, "trl_sft")
    works = {"the template's smoke test": command([*smoke()], PROJECT)}
    for name, make in commands.items():
        for number in (1, 1 + steps):
            works[f"{name}: {number}"] = fresh(runs, command(make(number), PROJECT))
    series = take_turns(works, repeats)
    first = {name: series[f"{name}: 1"] for name in commands}
    per_step = {
        name: series[f"{name}: {1 + steps}"].minus(first[name]).divided(steps) for name in commands
    }
    setting = (
        "4 layers of 256, 4,096 tokens of vocabulary, the sample chats, 2 micro-batches of 4, "
        "fp32; each also evaluates once, saves a checkpoint and the model."
    )
    missing = "" if len(commands) == 3 else " TRL and Trainer could not be installed here."
    return [
        table(
            "From the command to a trained, evaluated, saved model of one step",
            {**first, "the template's smoke test": series["the template's smoke test"]},
            setting + missing,
        ),
        table("One further optimizer step", per_step, setting + missing),
    ]


def suite() -> str:
    """`make test`, once."""
    started = time.perf_counter()
    done = subprocess.run(["make", "test"], cwd=ROOT, capture_output=True, text=True, check=False)
    minutes = (time.perf_counter() - started) / 60
    closing = done.stdout.strip().splitlines()[-1].strip("= ")
    return f"## The suite\n\n`make test`: {minutes:.1f} minutes ({closing}).\n"


def smoke() -> list[str | Path]:
    """Return the command of the project's smoke test."""
    return [PROJECT / ".venv/bin/python", "scripts/smoke_test.py"]


def fresh(folder: Path, work: Work) -> Work:
    """Return the work with its output folder emptied first, outside the measured time."""

    def from_nothing() -> float:
        shutil.rmtree(folder, ignore_errors=True)
        return work()

    return from_nothing


def copy_template(folder: Path) -> None:
    """Copy what Copier reads, without git: no tag and no clone in between."""
    for name in ("template", "extensions", "hooks", "locks"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    shutil.copy(ROOT / "copier.yml", folder)


def prepare_project() -> None:
    """Generate and install the project that is measured, anew where its pins changed."""
    template = WORK / "template"
    shutil.rmtree(template, ignore_errors=True)
    copy_template(template)
    copy = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults", "--quiet"]
    data = [f"--data={key}={value}" for key, value in ANSWERS.items()]
    environment = {"ML_TEMPLATE_HOOKS": "install", "ML_TEMPLATE_STRICT": "1"}
    print("preparing the project …", file=sys.stderr)
    command([*copy, "--overwrite", *data, template, PROJECT], ROOT, environment)()


def prepare_baselines() -> bool:
    """Install the packages and TRL, which brings what Trainer needs; whether it worked."""
    if (BASELINES / ".done").is_file():
        return True
    print("installing TRL beside the project's packages …", file=sys.stderr)
    sys.path.insert(0, str(PROJECT / "scripts"))
    # uv does not read pip's configuration; the project's own scripts know how to pass it on.
    from machine import pip_config  # type: ignore[import-not-found]

    pip = pip_config.parse(pip_config.read(PROJECT))
    environment = {**os.environ, **pip_config.for_uv(pip, os.environ)}
    python = BASELINES / "bin/python"
    base = PROJECT / ".venv/bin/python"
    try:
        command(["uv", "venv", "--clear", "--python", base, BASELINES], ROOT, environment)()
        install = ["uv", "pip", "install", "--python", str(python), "--compile-bytecode"]
        command([*install, "-r", str(PROJECT / "requirements.txt"), "trl"], ROOT, environment)()
    except (RuntimeError, OSError) as error:
        print(f"without the baselines: {error}", file=sys.stderr)
        return False
    (BASELINES / ".done").write_text("")
    return True


def baseline_versions() -> list[str] | None:
    """Return TRL's and Accelerate's versions where they are installed."""
    if not (BASELINES / ".done").is_file():
        return None
    code = "from importlib.metadata import version as v; print(v('trl'), v('accelerate'))"
    python = str(BASELINES / "bin/python")
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    trl, accelerate = done.stdout.split()
    return [f"trl=={trl}", f"accelerate=={accelerate}"]


def make_base(folder: Path) -> None:
    """Make the model that all start from: our small random one, in the hub's layout."""
    if (folder / "config.json").is_file():
        return
    run = WORK / "base-run"
    flags = ["--model.name_or_path", "scratch", "--train.output_dir", str(run)]
    flags += ["--train.max_steps", "1"]
    flags += ["--train.resume", "never", "--train.learning_rate", "1e-9"]
    python = PROJECT / ".venv/bin/python"
    command([str(python), "scripts/train.py", "--config", "configs/train.yaml", *flags], PROJECT)()
    shutil.copytree(run / "final", folder)


if __name__ == "__main__":
    main()
