"""Does each task's first training learn? Its sample, its default configuration, on a CPU.

python benchmarks/sample_runs.py --python PYTHON [--output benchmarks/results/….md]

PYTHON is an environment with a project's packages. A metric of the held-out rows is set beside
what needs no model: always the commonest class, or every token by how often it occurs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from timing import machine

ROOT = Path(__file__).resolve().parents[1]
TASKS = (
    "text_classification",
    "image_classification",
    "audio_classification",
    "llm",
    "multimodal",
)
# in the project's environment: prints the trivial figure of the metric that the row is about
TRIVIAL = """
import math
import sys
from collections import Counter

from sample_run.config import load_config
from sample_run.data import TASK, load, num_targets
from sample_run.pretrained import load as load_pretrained
from sample_run.processor import PROCESSOR_CLASS

config = load_config(["--config", "configs/train.yaml"])
data = load(config, load_pretrained(PROCESSOR_CLASS, "models/run/processor"))
counts, held_out = Counter(), Counter()
for split, into in ((data.train, counts), (data.eval, held_out)):
    for i in range(len(split)):
        labels = data.batch(split, [i])["labels"].ravel()
        into.update(labels[labels != -100].tolist())
total = sum(held_out.values())
commonest = held_out[counts.most_common(1)[0][0]] / total
seen, size = sum(counts.values()), len(counts) + 1
nats = -sum(n * math.log((counts[t] + 1) / (seen + size)) for t, n in held_out.items()) / total
print(commonest, math.exp(nats))
"""


def main() -> None:
    """Train every task's sample once."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--only", nargs="+", choices=TASKS, default=TASKS)
    options = parser.parse_args()
    lines = [
        f"# The first training of each task, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"`python benchmarks/sample_runs.py`, on {machine()}, one thread. The sample and the "
        "configuration are those of a new project; random weights, no GPU. Time is processor "
        "time of `make train`, importing PyTorch included.",
        "",
        "| task | held-out metric | trained | without a model | time |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for task in options.only:
            lines.append(row(task, Path(folder) / task, options.python))
            print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", "utf-8")


def row(task: str, root: Path, python: Path) -> str:
    """Make the project, train, evaluate, and compare."""
    answers = {"project_name": "Sample run", "task": task, "base_model": "scratch", "gpu": "none"}
    given = [word for key, value in answers.items() for word in ("-d", f"{key}={value}")]
    copy = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults", "--quiet"]
    run([*copy, "--vcs-ref=HEAD", *given, str(ROOT), str(root)], ROOT, ML_TEMPLATE_HOOKS="off")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run([str(python), "scripts/train.py", "--config", "configs/train.yaml"], root)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    run([str(python), "scripts/evaluate.py", "--model", "models/run/final"], root)
    report = json.loads((root / "models/run/evaluation.json").read_text("utf-8"))
    commonest, perplexity = map(float, run([str(python), "-c", TRIVIAL], root).split()[-2:])
    if "eval_accuracy" in report:
        name, ours, trivial = "accuracy", report["eval_accuracy"], commonest
        form = "{:.1%}"
    else:
        name, ours, trivial = "perplexity of the answers", report["eval_perplexity"], perplexity
        form = "{:.2f}"
    return f"| {task} | {name} | {form.format(ours)} | {form.format(trivial)} | {seconds:.0f} s |"


def run(command: list[str], folder: Path, **more: str) -> str:
    """Run to the end; raises where the command fails."""
    environment = {
        **os.environ,
        **{"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": "src"},
        **more,
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
