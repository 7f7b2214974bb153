"""Measure a classifier in ONNX Runtime beside PyTorch, and what rounding to int8 loses.

python benchmarks/onnx_speed.py PROJECT ENCODER [--threads 1] [--rounds 5]

PROJECT is a text classification project that serves onnx, with its environment; ENCODER the folder
of a pretrained encoder. It is fine-tuned on docstrings of Python's standard library and exported;
then the same random tokens go through each engine in turns. Seconds are the processor's: with one
thread they are those of an idle machine, whoever else uses this one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RUN = "models/onnx-speed"
BATCHES, LENGTHS = (1, 8, 32), (16, 128, 256)
ENGINES = ("PyTorch eager", "model.onnx", "model_optimized.onnx", "model_int8.onnx")

# run in the project's environment: seconds of each engine, round and size
MEASURE = """
import json, sys, time
from pathlib import Path
import numpy as np, torch
from {package}.onnx_predictor import OnnxPredictor
from {package}.onnx_session import open_session
from {package}.predictor import Predictor

run, threads, rounds, batches, lengths, files = json.loads(sys.argv[1])
torch.set_num_threads(threads)
original = Predictor.load(Path(run) / "final", "cpu")
engines, loading = {{"PyTorch eager": original}}, {{}}
for file in files:
    begun = time.process_time()
    session = open_session(Path(run) / "export-onnx" / file, "cpu", threads)
    loading[file] = time.process_time() - begun
    engines[file] = OnnxPredictor(session, original.labels, original.processor, "", "", "")

def seconds(engine, inputs, times):
    begun = time.process_time()
    for _ in range(times):
        engine.scores(inputs)
    return (time.process_time() - begun) / times

random = np.random.default_rng(0)
found = {{}}
for batch in batches:
    for length in lengths:
        ids = torch.from_numpy(random.integers(1000, 20000, (batch, length)))
        inputs = {{"input_ids": ids, "attention_mask": torch.ones_like(ids)}}
        once = min(seconds(original, inputs, 1) for _ in range(2))
        times = max(1, round(0.3 / once))
        for engine in engines.values():
            engine.scores(inputs)
        series = {{name: [] for name in engines}}
        for _ in range(rounds):
            for name in random.permutation(list(engines)).tolist():
                series[name].append(seconds(engines[name], inputs, times))
        found[f"{{batch}} x {{length}}"] = series
        print(batch, length, file=sys.stderr)
print(json.dumps({{"loading": loading, "seconds": found}}))
"""


def main() -> None:
    """Train, export, measure and print the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--python", default=".venv/bin/python", help="of the project")
    options = parser.parse_args()
    project = Project(options.project.resolve(), options.python, options.threads)
    if not (project.root / RUN / "final").is_dir():
        prepare(project, options.encoder.resolve())
    project.run("scripts/export.py", "--model", f"{RUN}/final", "--format", "onnx")
    report = json.loads((project.root / RUN / "export-onnx/export.json").read_text("utf-8"))
    package = next((project.root / "src").glob("*/predictor.py")).parent.name
    asked = [RUN, options.threads, options.rounds, BATCHES, LENGTHS, ENGINES[1:]]
    said = project.run("-c", MEASURE.format(package=package), json.dumps(asked))
    print(page(options, report, json.loads(said.splitlines()[-1])))


class Project:
    """A project and how its environment's Python is called."""

    def __init__(self, root: Path, python: str, threads: int) -> None:
        self.root, self.python = root, python
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(root / "src"),
            "OMP_NUM_THREADS": str(threads),
            "HF_HUB_OFFLINE": "1",
        }

    def run(self, *words: str) -> str:
        """Run a script, and return what it prints."""
        done = subprocess.run(
            [self.python, *words],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"error: {' '.join(words)[:200]} failed")
        return done.stdout


def prepare(project: Project, encoder: Path) -> None:
    """Fine-tune the encoder on docstrings; a quarter is held out."""
    sys.path.insert(0, str(ROOT / "tests"))
    import real_text

    texts = list(real_text.docstrings())
    train, test = real_text.split(texts, training=len(texts) * 3 // 4)
    files = [
        str(real_text.write(rows, project.root / "data/raw" / f"docstrings-{name}.csv"))
        for name, rows in (("train", train), ("eval", test))
    ]
    project.run(
        *("scripts/train.py", "--config", "configs/train.yaml"),
        *("--model.name_or_path", str(encoder), "--data.train", files[0], "--data.eval", files[1]),
        *("--train.max_seq_len", "64", "--train.epochs", "3", "--train.learning_rate", "1e-4"),
        *("--train.micro_batch_size", "16", "--train.global_batch_size", "16"),
        *("--train.output_dir", RUN),
    )


def page(options: argparse.Namespace, report: dict[str, Any], measured: dict[str, Any]) -> str:
    """The page for results/: speed and accuracy."""
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    lines = [
        "# ONNX Runtime beside PyTorch",
        "",
        f"`python benchmarks/onnx_speed.py PROJECT ENCODER --threads {options.threads} "
        f"--rounds {options.rounds}`: {options.encoder.resolve().parent.name}, fine-tuned to "
        f"classify docstrings; {os.cpu_count()} shared cores ({processor()}), CPU, "
        f"{options.threads} thread; Python {platform.python_version()}, {versions}.",
        "",
        "## Speed",
        "",
        "Processor milliseconds of one batch (tokens to probabilities), median of "
        f"{options.rounds} rounds in turns; in brackets how many times as fast as PyTorch, "
        "round by round: median, lowest and highest.",
        "",
        f"| batch x length | {' | '.join(ENGINES)} |",
        "|---|" + "---:|" * len(ENGINES),
    ]
    for size, series in measured["seconds"].items():
        cells = [f"{1e3 * statistics.median(series[ENGINES[0]]):.1f}"]
        for name in ENGINES[1:]:
            ratios = [a / b for a, b in zip(series[ENGINES[0]], series[name], strict=True)]
            cells.append(
                f"{1e3 * statistics.median(series[name]):.1f} "
                f"({statistics.median(ratios):.2f}; {min(ratios):.2f} to {max(ratios):.2f})"
            )
        lines.append(f"| {size} | {' | '.join(cells)} |")
    lines += [
        "",
        "## What is lost",
        "",
        f"`scripts/export.py --format onnx`, on {report['rows']} held-out docstrings; the original "
        f"is right on {report['original_accuracy']:.2%}. Difference: the largest of any score "
        "before the softmax. Loading: processor seconds.",
        "",
        "| file | MB | difference | same answers | accuracy | loading |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {each['file']} | {each['megabytes']:.1f} | {each['difference']:.1e} | "
        f"{each['same_answers']:.2%} | {each['accuracy']:.2%} | "
        f"{measured['loading'][each['file']]:.2f} s |"
        for each in report["variants"]
    ]
    return "\n".join(lines) + "\n"


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    vnni = "with VNNI" if "avx512_vnni" in text or "avx_vnni" in text else "without VNNI"
    return f"{names[0]}, {vnni}" if names else platform.machine()


if __name__ == "__main__":
    main()
