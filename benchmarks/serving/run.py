"""Measure the rendered service beside LitServe, BentoML and FastAPI by hand; write results/.

python benchmarks/serving/run.py --python ENV/bin/python [--repeats 5] [--seconds 4]
    [--fresh cell|turn] [--arms ours hand …] [--scenarios closed mixed …] [--soak 600]
    [--name serving-rising]

ENV holds the packages of a generated project's inference/requirements.txt, and the competitors:
pip install -r requirements.txt litserve bentoml. The server has core 0, the client core 1, every
arm one PyTorch thread and batches of at most 32. `--fresh turn` starts each arm once in a turn in
place of once in a cell: quicker, with one caveat more. Every cell's numbers are kept in .work/;
with --keep a run adds its turns to them, and `--keep --scenarios` alone writes the tables again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from servers import ARMS, OURS, Arm, Server
from tables import RISING_SHARES, report
from timing import command

from template import RESULTS, ROOT, WORK, copy_template

HERE = Path(__file__).resolve().parent
FOLDER = WORK / "serving"
PROJECT, MODEL, WORDS = FOLDER / "project", FOLDER / "model", FOLDER / "words.txt"
DEADLINE = 10.0
OVERLOAD_DEADLINE = 1.0
ENDS_SECONDS = 15.0  # after a SIGTERM
Cell = dict[str, Any]

CLOSED: dict[str, Cell] = {
    f"closed {n}": {"kind": "load", "loop": "closed", "load": n} for n in (1, 8, 32, 128)
}
MIXED: dict[str, Cell] = {
    "mixed 32": {"kind": "load", "loop": "closed", "load": 32, "mixed": True},
}
# their load is a share of what the arm answered in the same turn
OPEN: dict[str, Cell] = {
    f"open {share}": {"kind": "load", "loop": "open", "share": share} for share in (0.5, 0.8, 1.2)
}
OTHERS: dict[str, Cell] = {
    "overload": {"kind": "load", "loop": "open", "share": 2.0, "deadline": OVERLOAD_DEADLINE},
    "disconnects": {
        "kind": "load",
        "loop": "closed",
        "load": 128,
        "disconnects": 0.3,
        "leave_after": 0.03,
    },
}
RISING: dict[str, Cell] = {
    f"rising {share}": {
        "kind": "load",
        "loop": "open",
        "share": share,
        "deadline": OVERLOAD_DEADLINE,
    }
    for share in RISING_SHARES
}
SIGTERM: dict[str, Cell] = {"sigterm": {"kind": "sigterm", "share": 0.5}}
GROUPS = {
    "closed": CLOSED,
    "mixed": MIXED,
    "open": OPEN,
    "others": OTHERS,
    "rising": RISING,
    "sigterm": SIGTERM,
}


@dataclass
class Bench:
    """What all cells share, and what they gave."""

    python: Path
    seconds: float
    raw: Path
    client: Path = FOLDER / "client"
    capacity: dict[tuple[int, str], float] = field(default_factory=dict)
    """Answers a second of an arm, the most in a turn's closed loops."""
    reference: dict[str, float] = field(default_factory=dict)

    def server(self, arm: Arm) -> Server:
        """Start an arm."""
        return Server(arm, self.python, PROJECT, MODEL, FOLDER)

    def measure(self, server: Server, turn: int, name: str, cell: Cell) -> None:
        """Run one cell and append its line to the raw results."""
        arm = server.arm
        self.check(server)
        load = cell.get("load") or cell["share"] * self.capacity.get((turn, arm.name), 100.0)
        whole = {"deadline": DEADLINE, "mixed": False, "seconds": self.seconds, **cell}
        whole |= {"load": load, "port": server.port, "path": arm.path, "form": arm.form}
        whole |= {"health": arm.health, "pid": server.process.pid, "words": str(WORDS)}
        before, used = server.computed(), server.processor_seconds()
        done = self.run_client({**whole, "seed": turn})
        rows, batches = (b - a for a, b in zip(before, server.computed(), strict=True))
        line = {"turn": turn, "arm": arm.name, "scenario": name, "load": load, **done}
        line |= {"rows_computed": rows, "batches": batches, "peak_rss_mib": server.memory_mib()}
        line["load_average"] = os.getloadavg()[0]
        line["processor_seconds"] = server.processor_seconds() - used
        if name in SIGTERM:
            line["ended"] = server.ends_within(ENDS_SECONDS)
        if name in CLOSED:
            key = (turn, arm.name)
            self.capacity[key] = max(self.capacity.get(key, 0.0), done["answered_rps"])
        with self.raw.open("a") as file:
            file.write(json.dumps(line) + "\n")
        said = f"{done['answered_rps']:.0f}/s" if "answered_rps" in done else str(done)
        print(f"  turn {turn}: {arm.name}, {name}: {said}", file=sys.stderr, flush=True)

    def run_client(self, cell: Cell) -> dict[str, Any]:
        """Put one load on a server from core 1."""
        paths = os.pathsep.join([str(PROJECT), str(PROJECT / "src")])
        call = ["taskset", "-c", "1", str(self.python), str(HERE / "client.py"), json.dumps(cell)]
        done = subprocess.run(
            call,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=False,
            timeout=cell["seconds"] + 120,
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])
        said = json.loads(done.stdout.splitlines()[-1])
        assert isinstance(said, dict)
        return said

    def check(self, server: Server) -> None:
        """All arms give one text the same scores: same weights, same tokens."""
        said = server.answer("My parcel has not arrived, and nobody answers the phone.")
        assert said is not None
        scores: dict[str, float] = said["scores"]
        self.reference = self.reference or scores
        if any(abs(scores[name] - score) > 1e-4 for name, score in self.reference.items()):
            raise RuntimeError(f"{server.arm.name} answers {scores}, not {self.reference}")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--fresh", choices=("cell", "turn"), default="cell")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    usual = [name for name in GROUPS if name != "rising"]
    parser.add_argument("--scenarios", nargs="*", choices=GROUPS, default=usual)
    parser.add_argument("--name", default="serving", help="of the report, before its date")
    parser.add_argument("--soak", type=float, default=0.0, help="seconds of overload, ours only")
    parser.add_argument("--keep", action="store_true", help="add to the raw results there are")
    options = parser.parse_args()

    prepare(options.python.absolute())
    raw = FOLDER / "cells.jsonl"
    if not options.keep:
        raw.unlink(missing_ok=True)
    bench = Bench(options.python.absolute(), options.seconds, raw)
    arms = [ARMS[name] for name in options.arms]
    first = 1 + max((line["turn"] for line in read(raw)), default=0)
    for turn in range(first, first + (options.repeats if options.scenarios else 0)):
        one_turn(bench, turn, arms, options.scenarios, options.fresh)
        publish(
            raw, options.python, sys.argv[1:], options.name
        )  # an hour's work: what is done is kept
    if options.soak:
        soak(bench, options.soak)
    publish(raw, options.python, sys.argv[1:], options.name)


def one_turn(
    bench: Bench, turn: int, arms: Sequence[Arm], wanted: Sequence[str], fresh: str
) -> None:
    """All cells once, in random order; closed loops first, as they say what an arm can carry."""
    rng = random.Random(turn)
    first = {**CLOSED, **(MIXED if "mixed" in wanted else {})}
    then = {name: cell for group in ("open", "others", "rising") if group in wanted
            for name, cell in GROUPS[group].items()}  # fmt: skip
    last = SIGTERM if "sigterm" in wanted else {}
    phases = [shuffled(rng, phase) for phase in (first, then, last)]
    if fresh == "turn":
        for arm in rng.sample(arms, len(arms)):
            with bench.server(arm) as server:
                for name, cell in (pair for phase in phases for pair in phase):
                    bench.measure(server, turn, name, cell)
        return
    for phase in phases:
        cells = [(arm, name, cell) for arm in arms for name, cell in phase]
        for arm, name, cell in rng.sample(cells, len(cells)):
            with bench.server(arm) as server:
                bench.measure(server, turn, name, cell)


def shuffled(rng: random.Random, cells: dict[str, Cell]) -> list[tuple[str, Cell]]:
    """The cells in random order."""
    return rng.sample(list(cells.items()), len(cells))


def soak(bench: Bench, seconds: float) -> None:
    """Overload at twice the capacity, with the memory every 15 s."""
    with ExitStack() as stack:
        server = stack.enter_context(bench.server(OURS))
        bench.measure(server, 0, "closed 32", CLOSED["closed 32"])
        cell = {**OTHERS["overload"], "share": None, "mixed": True, "seconds": seconds}
        cell["load"] = 2 * bench.capacity[(0, OURS.name)]
        watcher = subprocess.Popen(
            [
                sys.executable,
                __file__,
                "--watch",
                str(server.process.pid),
                str(FOLDER / "soak.jsonl"),
            ]
        )
        stack.callback(watcher.wait)
        stack.callback(watcher.terminate)
        bench.measure(server, 0, "soak", cell)


def watch(pid: int, file: Path) -> None:
    """Append the resident memory of a process, until this one is ended."""
    begun = time.monotonic()
    with file.open("w") as out:
        while True:
            try:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            except OSError:
                return
            rss = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
            said = {"second": round(time.monotonic() - begun, 1), "rss_mib": rss / 1024}
            out.write(json.dumps(said) + "\n")
            out.flush()
            time.sleep(15)


def prepare(python: Path) -> None:
    """Render the project, and make the model which all arms load."""
    template = FOLDER / "template"
    for folder in (template, PROJECT):
        shutil.rmtree(folder, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    copy_template(template)
    answers = {"project_name": "Bench", "package_name": "bench", "task": "text_classification"}
    answers |= {"base_model": "scratch", "strategy": "full", "gpu": "none"}
    answers["serving"] = "[fastapi]"
    data = [f"--data={key}={value}" for key, value in answers.items()]
    copier = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults", "--quiet"]
    command([*copier, *data, template, PROJECT], ROOT, {"ML_TEMPLATE_HOOKS": "off"})()
    command([python, "-m", "compileall", "-q", "src", "inference"], PROJECT)()
    rows = (PROJECT / "data/sample/train.csv").read_text("utf-8")
    WORDS.write_text(" ".join(word for word in rows.split() if word.isalpha()), "utf-8")
    if (MODEL / "config.json").is_file():
        return
    keys = {"model.name_or_path": "scratch", "train.output_dir": FOLDER / "run"}
    keys |= {"model.scratch.hidden_size": 128, "model.scratch.num_layers": 4}
    keys |= {"model.scratch.num_heads": 4, "model.scratch.vocab_size": 2048}
    keys |= {"train.max_steps": 20, "train.max_seq_len": 256, "train.resume": "never"}
    flags = [str(part) for key, value in keys.items() for part in (f"--{key}", value)]
    script = ["scripts/train.py", "--config", "configs/smoke.yaml", *flags]
    source = {"PYTHONPATH": str(PROJECT / "src"), "OMP_NUM_THREADS": "1"}
    command([python, *script], PROJECT, source)()
    shutil.copytree(FOLDER / "run/final", MODEL, dirs_exist_ok=True)


def read(raw: Path) -> list[dict[str, Any]]:
    """The cells measured so far."""
    return [json.loads(line) for line in raw.read_text().splitlines()] if raw.is_file() else []


def publish(raw: Path, python: Path, arguments: Sequence[str], name: str) -> None:
    """Write the report of what there is."""
    soaked = read(FOLDER / "soak.jsonl")
    given = " ".join(hidden(arguments, python))
    text = report(read(raw), soaked, python, f"python benchmarks/serving/run.py {given}")
    target = RESULTS / f"{name}-{datetime.now(UTC):%Y-%m-%d}.md"
    target.write_text(text, "utf-8")
    print(f"written to {target.relative_to(ROOT)}", file=sys.stderr)


def hidden(arguments: Sequence[str], python: Path) -> Iterator[str]:
    """The arguments without this machine's paths."""
    for argument in arguments:
        yield argument.replace(str(python), "ENV/bin/python")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--watch"]:
        watch(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
