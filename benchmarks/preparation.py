"""Measure the preparation of text: tokens a second beside datasets.map, and peak memory.

python benchmarks/preparation.py PROJECT [--sizes 10 100 1000] [--compare 20] [--repeats 5]

PROJECT is a generated project for language models; run this with its Python. The data are made-up
conversations of ragged length, the same every time. Both sides do the same with the same
tokenizer: from a JSONL file to token ids and loss masks on the disk. Ours also checks the rows
and hashes them. The rounds are taken in turns, each in a fresh process with empty caches.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WORK = HERE / ".work" / "preparation"
MIB = 2**20
ARMS = {"ours": 0, "datasets.map, num_proc 1": 1, "datasets.map, num_proc 2": 2}


def main() -> None:
    """Measure, print a page and write it into results/."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10, 100, 1000], help="MB")
    parser.add_argument("--compare", type=int, default=20, help="MB of the comparison; 0: none")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.project = options.project.resolve()
    sys.path.insert(0, str(options.project / "src"))
    if options.arm:
        print(json.dumps(one_round(options.project, options.arm, options.data)))
        return
    WORK.mkdir(parents=True, exist_ok=True)
    make_tokenizer(options.project)
    parts = [heading()]
    if options.compare:
        parts.append(compare(options.project, options.compare, options.repeats))
    if options.sizes:
        parts.append(memory(options.project, options.sizes))
    page = "\n\n".join(parts) + "\n"
    print(page)
    if options.output:
        options.output.write_text(page, encoding="utf-8")


def heading() -> str:
    """What was measured with what."""
    names = ("transformers", "tokenizers", "datasets", "numpy")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    return (
        "# Preparation of text\n\n`python benchmarks/preparation.py PROJECT`: made-up "
        "conversations, a byte-level BPE of 16,000 tokens, "
        f"{os.cpu_count()} cores ({platform.processor() or platform.machine()}), "
        f"Python {platform.python_version()}, {versions}."
    )


# ── Data ──


def make_data(megabytes: int) -> Path:
    """A JSONL file of conversations: words of a Zipf distribution, 1 to 4 exchanges."""
    path = WORK / f"chat-{megabytes}.jsonl"
    if path.exists():
        return path
    draw = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(draw.choices(letters[:18], k=draw.randint(2, 9))) for _ in range(30_000)]
    total = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(words))))
    sentences = [
        " ".join(draw.choices(words, cum_weights=total, k=draw.randint(3, 30))).capitalize() + "."
        for _ in range(50_000)
    ]
    written, number = 0, 0
    temporary = path.with_suffix(".writing")
    with temporary.open("w", encoding="utf-8") as file:
        while written < megabytes * 1_000_000:
            number += 1
            turns = [("user", 3), ("assistant", 9)] * draw.choice((1, 1, 1, 2, 2, 3, 4))
            messages = [
                {
                    "role": role,
                    "content": " ".join(draw.choices(sentences, k=draw.randint(1, most))),
                }
                for role, most in turns
            ]
            messages[0]["content"] += f" Question {number}?"
            written += file.write(json.dumps({"messages": messages}) + "\n")
    temporary.rename(path)
    return path


def make_tokenizer(project: Path) -> None:
    """Learn it from the smallest file, once."""
    if (WORK / "tokenizer").exists():
        return
    vocabulary = module(project, "vocabulary")
    with make_data(10).open(encoding="utf-8") as file:
        texts = (each["content"] for line in file for each in json.loads(line)["messages"])
        tokenizer = vocabulary.make_tokenizer(texts, 16_000, 1_000_000)
    tokenizer.save_pretrained(WORK / "tokenizer")


def module(project: Path, name: str) -> Any:
    """A module of the project's package."""
    package = next(each.parent.name for each in (project / "src").glob("*/chat.py"))
    return importlib.import_module(f"{package}.{name}")


# ── Tokens a second ──


def one_round(project: Path, arm: str, data: Path) -> dict[str, float]:
    """Tokenise the file in this process; seconds, tokens, and tokens with loss."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(WORK / "tokenizer")
    cache = WORK / f"cache-{os.getpid()}"
    try:
        if arm == "ours":
            return with_ours(project, tokenizer, data, cache)
        return with_datasets(project, tokenizer, data, cache, ARMS[arm])
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def with_ours(project: Path, tokenizer: Any, data: Path, cache: Path) -> dict[str, float]:
    """Read, check, hash and tokenise, as training does when it first sees a file."""
    data_module = module(project, "data")
    arguments = ["--config", str(project / "configs" / "train.yaml")]
    config = module(project, "config").load_config(
        [*arguments, "--data.cache_dir", str(cache), "--data.train", str(data)]
    )
    started = time.perf_counter()
    rows = data_module._tokenise(config, str(data), "train", tokenizer)
    seconds = time.perf_counter() - started
    trained = int(rows.columns["trained"].sum())
    return {"seconds": seconds, "tokens": int(rows.lengths.sum()), "trained": trained}


def with_datasets(
    project: Path, tokenizer: Any, data: Path, cache: Path, processes: int
) -> dict[str, float]:
    """The same job; the seconds of `map` alone, and with reading the file before it."""
    import datasets

    datasets.disable_progress_bars()
    encode = module(project, "chat").encode_conversations

    def tokenise(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        found = encode(batch["messages"], tokenizer, range(len(batch["messages"])))
        return {
            "input_ids": [ids for ids, _, _ in found],
            "trained": [mask for _, mask, _ in found],
        }

    started = time.perf_counter()
    rows = datasets.load_dataset("json", data_files=str(data), cache_dir=str(cache))["train"]
    read = time.perf_counter()
    made = rows.map(
        tokenise,
        batched=True,
        batch_size=1000,
        num_proc=processes if processes > 1 else None,
        remove_columns=rows.column_names,
    )
    ended = time.perf_counter()
    table = made.with_format("arrow")[:]
    return {
        "seconds": ended - read,
        "with_reading": ended - started,
        "tokens": len(table["input_ids"].combine_chunks().flatten()),
        "trained": int(table["trained"].combine_chunks().flatten().to_numpy(False).sum()),
    }


def compare(project: Path, megabytes: int, repeats: int) -> str:
    """A table of the three, in turns."""
    data = make_data(megabytes)
    rounds: list[dict[str, dict[str, float]]] = []
    for _ in range(repeats):
        rounds.append({})
        for arm in ARMS:
            words = [sys.executable, __file__, str(project), "--arm", arm, "--data", str(data)]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            rounds[-1][arm] = json.loads(done.stdout.splitlines()[-1])
    results = {(each[arm]["tokens"], each[arm]["trained"]) for each in rounds for arm in ARMS}
    if len(results) != 1:
        raise SystemExit(f"the tools made different tokens: {results}")
    (tokens, _), *_ = results
    lines = [
        f"## Tokens a second\n\n{megabytes} MB, {tokens:,} tokens; median of {repeats} rounds in "
        "turns. `map` alone starts from an Arrow table; with reading it starts from the JSONL file,"
        " as ours does. Ratios are ours over theirs, round by round: median, lowest and highest.\n",
        "| | tokens/s | ours / it | with reading | ours / that |",
        "|---|---:|---:|---:|---:|",
    ]
    for arm in ARMS:
        cells = [f"{tokens / statistics.median(each[arm]['seconds'] for each in rounds):,.0f}"]
        for key in ("seconds", "with_reading") if arm != "ours" else ():
            ratios = sorted(each[arm][key] / each["ours"]["seconds"] for each in rounds)
            if key == "with_reading":
                middle = statistics.median(each[arm][key] for each in rounds)
                cells.append(f"{tokens / middle:,.0f}")
            middle = statistics.median(ratios)
            cells.append(f"{middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        lines.append(f"| {' | '.join([arm, *cells, *[''] * (4 - len(cells))])} |")
    return "\n".join(lines)


# ── Memory ──


def memory(project: Path, sizes: list[int]) -> str:
    """A table: the peak of scripts/prepare_data.py for each size."""
    lines = [
        "## Peak memory\n\n`scripts/prepare_data.py`, from raw JSONL to `train.jsonl`, `eval.jsonl`"
        " and tokens, and the preview. Anonymous memory (`RssAnon`) is what the process holds, "
        "looked at every 20 ms; resident memory (`VmHWM`) also counts pages of files that it "
        "mapped, which the system takes back when it needs them.\n",
        "| MB | rows | tokens for training | anonymous MiB | resident MiB | seconds |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for size in sizes:
        lines.append(prepared(project, size))
        print(lines[-1], flush=True)
    return "\n".join(lines)


def prepared(project: Path, megabytes: int) -> str:
    """One row of the table."""
    data, output, cache = make_data(megabytes), WORK / "processed", WORK / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    words = {"model.name_or_path": WORK / "tokenizer", "data.cache_dir": cache}
    arguments = [part for key, value in words.items() for part in (f"--{key}", str(value))]
    command = [sys.executable, "scripts/prepare_data.py", str(data), "--config"]
    command += ["configs/train.yaml", "--output", str(output), *arguments]
    environment = {**os.environ, "PYTHONPATH": "src"}
    started = time.perf_counter()
    with (
        (WORK / "out.txt").open("w+") as out,
        (WORK / "err.txt").open("w+") as err,
        subprocess.Popen(command, cwd=project, env=environment, stdout=out, stderr=err) as process,
    ):
        anonymous = resident = 0
        while process.poll() is None:
            facts = status(process.pid)
            anonymous = max(anonymous, facts.get("RssAnon", 0))
            resident = max(resident, facts.get("VmHWM", 0))
            time.sleep(0.02)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit((WORK / "err.txt").read_text())
    rows = json.loads((output / "summary.json").read_text())["rows"]
    preview = (WORK / "err.txt").read_text()
    tokens = preview.split(" training tokens")[0].split()[-1]
    return (
        f"| {megabytes:,} | {rows:,} | {tokens} | {anonymous / 1024:,.0f} "
        f"| {resident / 1024:,.0f} | {seconds:,.0f} |"
    )


def status(pid: int) -> dict[str, int]:
    """Numbers of /proc/PID/status, KiB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    fields = dict(line.split(":", 1) for line in lines)
    return {key: int(fields[key].split()[0]) for key in ("RssAnon", "VmHWM") if key in fields}


if __name__ == "__main__":
    main()
