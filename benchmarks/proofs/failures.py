"""What transformers.Trainer and TRL's SFTTrainer do when something goes wrong."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from answers import (
    Answer,
    first_line,
    largest_difference,
    pickles,
)
from safetensors.torch import load_file

from tools import (
    BASE,
    TOOL,
    TRL,
    WORK,
    At,
    on_chats,
    process,
)


def killed_and_resumed(task: str) -> Answer:
    """Killed before step 5 of an epoch of 8, with dropout and, for media, augmentation."""
    base = WORK / task / "base-dropout"
    job: dict[str, Any] = {"task": task, "base": str(base), "max_steps": 9, "save_steps": 2}
    job |= {"per_device_train_batch_size": 2, "save_strategy": "steps"}
    job |= {"packing": True, "count": 100} if TRL else {}
    job |= {"noise": True} if "image" in task or "audio" in task else {}
    for name in ("whole", "killed"):
        shutil.rmtree(WORK / "runs" / f"{TOOL}-{name}", ignore_errors=True)
    process({**job, "name": "whole"})
    process({**job, "name": "killed", "kill": 5}, fails=True)
    process({**job, "name": "killed", "resume": True})
    whole, killed = (
        load_file(WORK / "runs" / f"{TOOL}-{name}" / "model.safetensors")
        for name in ("whole", "killed")
    )
    difference = largest_difference(whole, killed)
    return difference == 0, f"{difference:.1e}" if difference else "0"


def not_finite() -> Answer:
    """What is logged, and what is left of the weights."""
    trainer = on_chats("nan", max_steps=5, learning_rate=1e30, lr_scheduler_type="constant")
    trainer.train()
    losses = [f"{float(x['loss']):.3g}" for x in trainer.state.log_history if "loss" in x]
    bad = any(not torch.isfinite(p).all() for p in trainer.model.parameters())
    return not bad, f"goes on; logs {', '.join(losses)}" + ("; weights NaN" if bad else "")


def terminated(opted: bool) -> str:
    """SIGTERM, by default and with `enable_jit_checkpoint`."""
    name = "term-opted" if opted else "term"
    job = {"name": name, "base": str(BASE), "task": "llm", "max_steps": 100_000}
    job |= {"enable_jit_checkpoint": opted, "save_strategy": "steps", "save_steps": 100_000}
    folder = WORK / "runs" / f"{TOOL}-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    log = WORK / f"{TOOL}-{name}.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [
                sys.executable,
                "-u",
                str(Path(__file__).with_name("baselines.py")),
                *sys.argv[1:4],
                json.dumps(job),
            ],
            stdout=stream,
            stderr=stream,
        )
        while process.poll() is None and "'loss'" not in log.read_text():
            time.sleep(0.2)
        process.terminate()
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return "goes on for more than 60 s"
    return f"exit {code}, {len(list(folder.glob('checkpoint-*')))} checkpoints"


def stopped() -> Answer:
    """Both ways."""
    return False, f"{terminated(False)}; with `enable_jit_checkpoint`: {terminated(True)}"


def out_of_memory() -> Answer:
    """`auto_find_batch_size` with room for two rows, from 8: rows in an optimizer step after."""
    trainer = on_chats("oom", per_device_train_batch_size=8, auto_find_batch_size=True)
    sizes = []
    compute = trainer.compute_loss

    def room_for_two(model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
        if len(inputs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        sizes.append(len(inputs["input_ids"]))
        return compute(model, inputs, *rest, **more)

    trainer.compute_loss = room_for_two
    trainer.train()
    return sum(sizes) == 8, f"{sum(sizes)} rows a step (with `auto_find_batch_size`)"


def damaged() -> Answer:
    """The newest checkpoint's weights cut in half."""
    saving = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    shutil.rmtree(WORK / "runs" / f"{TOOL}-damaged", ignore_errors=True)
    on_chats("damaged", **saving).train()
    file = WORK / "runs" / f"{TOOL}-damaged" / "checkpoint-4" / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return resumed("damaged", saving)


def resumed(name: str, saving: dict[str, Any]) -> Answer:
    """Whether `resume_from_checkpoint=True` finds a whole checkpoint."""
    try:
        on_chats(name, **saving).train(resume_from_checkpoint=True)
    except Exception as error:
        return False, f"{type(error).__name__}: {first_line(error)[:50]}"
    return True, "goes on"


def disk_full() -> Answer:
    """No file may grow beyond 100 kB from the second checkpoint on."""
    saving = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    shutil.rmtree(WORK / "runs" / f"{TOOL}-full", ignore_errors=True)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = (100_000, before[1])
    full = At(3, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    try:
        on_chats("full", callbacks=[full], **saving).train()
    except Exception as error:
        said = type(error).__name__
    else:
        said = "nothing"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    held, after = resumed("full", saving)
    return held, f"says {said}; then {after}"


def no_pickles() -> Answer:
    """In a checkpoint and a saved model."""
    on_chats("files", save_strategy="steps", save_steps=1).train()
    found = pickles(WORK / "runs" / f"{TOOL}-files")
    return not found, ", ".join(found)
