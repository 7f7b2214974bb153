"""Find out what a running service carries, and what that costs.

python inference/loadtest.py --url http://127.0.0.1:8000
python inference/loadtest.py --serve models/run/final --target-rps 500 --cost-per-hour 0.80
python inference/loadtest.py --url … --concurrency 1 8 32 --rate 50 100 200 --disconnects 0.3

Each load is measured for --duration seconds. The knee is the highest rate of the open loop at which
99 % of the requests are answered within --deadline, at a p95 of at most three times that of the
lightest load. Without --concurrency, --rate and --find-knee: 1, 8 and 32 clients, then the knee.
An API key is taken from the variable API_KEY.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

if not __package__:  # run as a script: this makes `inference` importable
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from inference.loadtesting import results, task
from inference.loadtesting.client import Connection, Target
from inference.loadtesting.inputs import example_inputs
from inference.loadtesting.picture import draw, rate
from inference.loadtesting.served import Served
from inference.loadtesting.traffic import Load, Plan
from inference.project import ArgumentParser, ConfigError, UserError, run

T = TypeVar("T")

MESSAGES = 400
CAPACITY_CLIENTS = 32
LATE_MS = 50  # beyond which the client is a part of what is measured
KNEE_SHARES = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)


def main() -> int:
    """Measure, print, write. Raises UserError."""
    options = arguments()
    with service(options) as url:
        levels, name = event_loop(measure(options, url))
    rising = open_loop(levels)
    if len(rising) < 2:
        rising = [one for one in levels if one.loop == "closed"]
    knee = results.knee(rising)
    report = {
        "model": name,
        "deadline_seconds": options.deadline,
        "levels": results.as_json(levels),
    }
    if knee is not None:
        late = client_was_late(levels)
        report |= say_knee(options, rate(knee), last=knee is rising[-1], reliable=not late)
    else:
        print("no knee: even the lightest load was not carried well")
    file = output_file(options, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    picture = file.with_suffix(".svg")
    picture.write_text(draw(rising, knee, f"Latency of {name} against load"), encoding="utf-8")
    print(f"written: {file}, {picture}")
    return 0


def arguments() -> argparse.Namespace:
    """Read the command line. Raises ConfigError."""
    parser = ArgumentParser(prog="python inference/loadtest.py", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="of a running service: http://127.0.0.1:8000")
    where.add_argument("--serve", metavar="MODEL", help="load a service of its own of this model")
    add = parser.add_argument
    add("--concurrency", type=positive_int, nargs="+", metavar="N", help="clients that wait")
    add("--rate", type=positive, nargs="+", metavar="RPS", help="requests per second")
    add("--find-knee", action="store_true", help="rates around the capacity")
    add("--duration", type=positive, default=5.0, help="seconds measured at each load")
    add("--warm-up", type=positive, default=1.0, help="seconds before that")
    add("--deadline", type=positive, default=task.DEADLINE_SECONDS, help="seconds; later is no use")
    add("--disconnects", type=share, default=0.0, help="share of clients that leave early")
    add("--inputs", type=Path, help="JSONL, one input a line as in `inputs`; default: examples")
    add("--items", type=positive_int, nargs="+", default=[1], help="inputs of a request")
    add("--target-rps", type=positive, help="requests a second that all replicas must carry")
    add("--cost-per-hour", type=positive, help="dollars of one replica")
    add("--headroom", type=share, default=results.HEADROOM, help="of the knee, kept free")
    add("--output", type=Path, help="JSON; default: loadtest.json in the run, or here")
    task.add_options(parser)
    options = parser.parse_args()
    if not (options.concurrency or options.rate or options.find_knee):
        options.concurrency, options.find_knee = [1, 8, 32], True
    return options


def positive(text: str) -> float:
    """A number above 0."""
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def positive_int(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if not 0 < value <= 4000:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 4000")
    return value


def share(text: str) -> float:
    """A number from 0 to below 1."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to below 1")
    return value


@contextmanager
def service(options: argparse.Namespace) -> Iterator[str]:
    """The URL to load; with `--serve` of a service that lives as long."""
    if options.url:
        yield options.url
        return
    with tempfile.TemporaryDirectory() as folder, Served(options.serve, Path(folder)) as served:
        yield served.url


async def measure(options: argparse.Namespace, url: str) -> tuple[list[results.Level], str]:
    """Load the service step by step, printing a line for each; also the model's name."""
    key = os.environ.get("API_KEY", "")
    headers = {"X-Request-Timeout": f"{options.deadline:g}"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    target = Target.of(url, tuple(headers.items()))
    messages = build_messages(options, target)
    name = await try_once(target, messages[0])
    streams = bool(getattr(options, "stream", False))
    plan = Plan(
        target,
        messages,
        options.deadline,
        options.duration,
        options.warm_up,
        options.disconnects,
        read=task.read_stream if streams else None,
    )
    print(results.heading(streams))
    levels: list[results.Level] = []

    async def add(loop: str, load: float) -> results.Level:
        one = Load(plan)
        seen = await (one.closed(int(load)) if loop == "closed" else one.open(load))
        levels.append(results.level(seen, loop, load, options.deadline))
        print(results.line(levels[-1], streams), flush=True)
        return levels[-1]

    for clients in options.concurrency or ():
        await add("closed", clients)
    for requests_per_second in sorted(options.rate or ()):
        await add("open", requests_per_second)
    if options.find_knee:
        fullest = max((one.answered_rps for one in levels if one.loop == "closed"), default=0.0)
        if CAPACITY_CLIENTS not in (options.concurrency or ()):
            fullest = (await add("closed", CAPACITY_CLIENTS)).answered_rps
        if not fullest:
            raise UserError(f"nothing was answered within --deadline {options.deadline:g} s")
        for part in KNEE_SHARES:
            await add("open", round(part * fullest, 1))
    for one in results.doubtful(open_loop(levels)):
        print("once more, as a higher load was carried:")
        again = await add("open", one.load)
        levels.pop()
        levels[levels.index(one)] = again  # it decides
    if client_was_late(levels):
        print(f"note: the client itself was late by more than {LATE_MS} ms; give it its own core")
    print(results.legend(options.deadline, streams))
    return levels, name


def open_loop(levels: list[results.Level]) -> list[results.Level]:
    """Those of rising rates."""
    return sorted((one for one in levels if one.loop == "open"), key=lambda one: one.load)


def client_was_late(levels: list[results.Level]) -> bool:
    """Whether what was measured is the client, in part."""
    return max(one.client_late_p99_ms for one in levels) > LATE_MS


def build_messages(options: argparse.Namespace, target: Target) -> list[bytes]:
    """Requests with inputs and sizes drawn at random, the same each time. Raises ConfigError."""
    inputs = read_inputs(options.inputs) if options.inputs else example_inputs()
    rng = random.Random(0)
    messages = []
    for _ in range(MESSAGES):
        path, body = task.request(rng.choices(inputs, k=rng.choice(options.items)), options)
        messages.append(target.message("POST", path, body))
    return messages


def read_inputs(path: Path) -> list[Any]:
    """One JSON value a line. Raises ConfigError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"--inputs {path}: {reason}") from None
    inputs = []
    for number, text in enumerate(lines, start=1):
        if text.strip():
            try:
                inputs.append(json.loads(text))
            except ValueError:
                raise ConfigError(f"--inputs {path}, line {number}: this is not JSON") from None
    if not inputs:
        raise ConfigError(f"--inputs {path} holds no input")
    return inputs


async def try_once(target: Target, message: bytes) -> str:
    """Ask once before anything is measured; the model's name. Raises UserError."""
    connection = Connection(target)
    where = f"{target.host}:{target.port}"
    try:
        async with asyncio.timeout(60):
            ready = await connection.ask(target.message("GET", "/readyz"))
            answer = await connection.ask(message)
    except TimeoutError:
        raise UserError(f"{where} has not answered for a minute") from None
    except (OSError, EOFError, ValueError):
        raise UserError(f"{where} does not answer; start the service or mend --url") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise UserError(f"{where} refused the first request ({answer.code}); mend that first")
    said = ready.json()
    model = said.get("model") if isinstance(said, dict) else None
    return str(model.get("name", "service"))[:80] if isinstance(model, dict) else "service"


def say_knee(
    options: argparse.Namespace, knee_rps: float, last: bool, reliable: bool
) -> dict[str, Any]:
    """Print the knee and what follows from it; returned for the file."""
    beyond = "; it lies higher than what was tried" if last else ""
    print(f"knee: {knee_rps:.3g} requests per second{beyond}")
    cost = results.cost(knee_rps, options.target_rps, options.cost_per_hour, options.headroom)
    headroom = f"{options.headroom:.0%} headroom"
    if not reliable:
        print("this plan is unreliable, as the client itself was late; measure again:")
    print(f"plan with {cost.planned_rps:.3g} per second and replica ({headroom})")
    if cost.replicas is not None:
        print(f"replicas for {options.target_rps:g} per second: {cost.replicas}")
    if cost.dollars_per_million is not None:
        print(f"dollars per million requests: {cost.dollars_per_million:.2f}")
    return {
        "knee_rps": knee_rps,
        "reliable": reliable,
        "planned_rps": cost.planned_rps,
        "target_rps": options.target_rps,
        "replicas": cost.replicas,
        "dollars_per_million": cost.dollars_per_million,
    }


def output_file(options: argparse.Namespace, name: str) -> Path:
    """`--output`, else beside the served model, in the run of its name, or here."""
    if options.output:
        return Path(options.output)
    run_folder = Path("models") / name
    if options.serve and Path(options.serve).is_dir():
        run_folder = Path(options.serve).resolve().parent  # in the model's own it would be uploaded
    known = len(Path(name).parts) == 1 and name not in (".", "..")
    inside = run_folder.is_dir() and (options.serve or known)
    return run_folder / "loadtest.json" if inside else Path("loadtest.json")


def event_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run with uvloop, where there is one: it costs the machine less."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)


if __name__ == "__main__":
    run(main)
