"""One load on one service, with the client that generated projects ship; prints its numbers.

Run by run.py, on a core of its own, with the rendered project on the path.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop
from inference.loadtesting.client import Connection, Target
from inference.loadtesting.results import level
from inference.loadtesting.traffic import Load, Plan

TEXTS = 400
FIXED_WORDS = 24
SENT = 1000  # around the SIGTERM


def main() -> None:
    """Read the cell from the command line, load, print JSON."""
    cell = json.loads(sys.argv[1])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        work = terminated(cell) if cell["kind"] == "sigterm" else loaded(cell)
        print(json.dumps(runner.run(work)))


async def loaded(cell: dict[str, Any]) -> dict[str, Any]:
    """One load of the closed or open loop."""
    target, messages = requests(cell)
    plan = Plan(
        target,
        messages,
        cell["deadline"],
        cell["seconds"],
        cell.get("warm_up", 1.0),
        cell.get("disconnects", 0.0),
        cell.get("leave_after"),
        health=cell["health"],
        seed=cell["seed"],
    )
    load = Load(plan)
    loop, amount = cell["loop"], cell["load"]
    seen = await (load.closed(int(amount)) if loop == "closed" else load.open(amount))
    codes = Counter(record.code for record in seen.records)
    return asdict(level(seen, loop, amount, cell["deadline"])) | {"all_codes": codes}


async def terminated(cell: dict[str, Any]) -> dict[str, Any]:
    """1,000 requests at a steady rate over kept connections; SIGTERM when 300 are sent.

    A request is `refused` where no connection could be had: a balancer sends it elsewhere. It is
    lost where the service had taken its connection and gave no answer, or another than 429 or 503.
    """
    target, messages = requests(cell)
    idle: list[Connection] = []
    codes: Counter[str] = Counter()
    after: Counter[str] = Counter()

    async def one(number: int) -> None:
        connection = idle.pop() if idle else Connection(target, again=False)
        try:
            async with asyncio.timeout(30):
                await connection.connect()
        except (OSError, TimeoutError):
            codes["refused"] += 1
            return
        try:
            async with asyncio.timeout(30):
                answer = await connection.ask(messages[number % len(messages)])
            code = "200" if answer.status == 200 else answer.code
        except (OSError, EOFError, TimeoutError, ValueError):
            code = "lost"
        codes[code] += 1
        if number >= SENT * 3 // 10:
            after[code] += 1
        idle.append(connection)

    begun, running = time.perf_counter(), []
    for number in range(SENT):
        due = begun + number / cell["load"]
        if (ahead := due - time.perf_counter()) > 0:
            await asyncio.sleep(ahead)
        if number == SENT * 3 // 10:
            os.kill(cell["pid"], signal.SIGTERM)
        running.append(asyncio.create_task(one(number)))
    await asyncio.gather(*running)
    lost = sum(n for code, n in codes.items() if code[:3] not in ("200", "429", "503", "ref"))
    return {"codes": codes, "after_signal": after, "lost": lost}


def requests(cell: dict[str, Any]) -> tuple[Target, list[bytes]]:
    """Whole requests of fixed or mixed length, the same for every arm."""
    headers = (("X-Request-Timeout", str(cell["deadline"])),)
    target = Target.of(f"http://127.0.0.1:{cell['port']}", headers)
    forms = {
        "ours": lambda text: {"inputs": [text]},
        "text": lambda text: {"text": text},
        "texts": lambda text: {"texts": [text]},
    }
    bodies = [json.dumps(forms[cell["form"]](text)).encode() for text in texts(cell)]
    return target, [target.message("POST", cell["path"], body) for body in bodies]


def texts(cell: dict[str, Any]) -> list[str]:
    """Texts of the sample's words: all of one length, or log-normal as people write."""
    words = Path(cell["words"]).read_text("utf-8").split()
    rng = random.Random(0)
    lengths = [
        min(160, 1 + int(16 * rng.lognormvariate(0, 0.9))) if cell["mixed"] else FIXED_WORDS
        for _ in range(TEXTS)
    ]
    return [" ".join(rng.choices(words, k=length)) for length in lengths]


if __name__ == "__main__":
    main()
