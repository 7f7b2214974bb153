r"""The properties of a generated project, seen in it: python ours.py NAME WORK, in its folder.

Writes WORK/NAME/ours.json, and for the baselines WORK/NAME/base (the model that all start from)
and rows.npz (16 rows as the model gets them). The project's package is called `proof`.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from answers import (
    CUT,
    HEADS,
    Answer,
    Probe,
    answer_tokens,
    ask,
    first_answer,
    largest_difference,
    pickles,
    ratio,
    rewriting,
)
from project import BASE, DROPPING, LLM, WORK, child, configure, lines, make_bases, run, weights
from proof import loop
from proof.checkpoints import damage
from proof.data import TASK, load
from proof.errors import EXIT_STOPPED, UserError
from proof.finetuning import STRATEGY
from proof.model import build_model
from proof.parallel import PARALLELISM
from proof.pretrained import load as load_processor
from proof.processor import PROCESSOR_CLASS
from proof.training import train

HAS_ADAPTERS = STRATEGY != "full"
SEED = 20261122


def accumulation(base: Path) -> Answer:
    """The norm of one step's gradient in micro-batches of 2 and in one of 16."""
    norms = []
    for size in (2, 16):
        words = ("train.global_batch_size=16", f"train.micro_batch_size={size}")
        norms.append(lines(run(f"ga-{base.name}-{size}", *words, base=base))[0]["grad_norm"])
    return ratio(norms[0], norms[1])


KILLER = """
import os, signal, sys
from proof import loop
from proof.config import load_config
from proof.training import train
one_step = loop.Loop.train_step
def step(running):
    if running.step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return one_step(running)
loop.Loop.train_step = step
train(load_config(["--config", sys.argv[1]]))
"""


def killed_and_resumed() -> Answer:
    """Killed at a random step within the epoch and started again, against a whole run."""
    step = random.Random(SEED).choice([3, 5, 7])  # checkpoints are at 2, 4, 6
    words = ["train.max_steps=9", "train.save_every=2", *(["train.packing=true"] if LLM else [])]
    whole = run("whole", *words, base=DROPPING)
    config = configure("killed", *words, base=DROPPING)
    config.write_yaml(WORK / "killed.yaml")
    done = child("-c", KILLER, WORK / "killed.yaml", str(step))
    assert done.returncode == -signal.SIGKILL, done.stderr
    result = train(config)
    assert result.run.start == step - 1
    difference = largest_difference(weights(whole), weights(Path(result.run.path)))
    return difference == 0, f"{difference:.1e}" if difference else "0"


def packed() -> Answer:
    """Logits of documents that share a sequence, against those of each alone."""
    config = configure("packed", "train.packing=true")
    tokenizer = load_processor(PROCESSOR_CLASS, str(BASE))
    data = load(config, tokenizer)
    model = build_model(config, tokenizer, data, torch.float32).eval()
    largest = 0.0
    many = [i for i in range(len(data.train)) if len(data.train.documents(i)) > 1]
    with torch.inference_mode():
        for i in many[:8]:
            batch = {k: torch.from_numpy(v) for k, v in data.batch(data.train, [i]).items()}
            del batch["labels"]
            together, start = model(**batch, use_cache=False).logits[0], 0
            for row in data.train.documents(i):
                ids = torch.from_numpy(data.train.store.sequence(row)[0].astype("int64"))[None]
                alone = model(input_ids=ids, use_cache=False).logits[0]
                part = together[start : start + ids.shape[1]]
                largest = max(largest, float((part - alone).abs().max()))
                start += ids.shape[1]
    return bool(many) and largest <= 1e-5, f"{largest:.0e}"


def trained_tokens(wanted: str) -> Answer:
    """The share of the prompts' tokens, or of the ends of turns, that has a loss."""
    tokenizer = load_processor(PROCESSOR_CLASS, str(BASE))
    data = load(configure("masks"), tokenizer)
    chosen = [0, 0]
    for i in range(len(data.train)):
        batch = data.batch(data.train, [i])
        ids, has_loss = batch["input_ids"][0], batch["labels"][0] != -100
        text = tokenizer.decode(ids)
        answer = answer_tokens(tokenizer, ids)
        where = ~answer if wanted == "prompt" else answer & np.isin(ids, [tokenizer.eos_token_id])
        assert where.any(), text
        chosen = [chosen[0] + int(has_loss[where].sum()), chosen[1] + int(where.sum())]
    share = chosen[0] / chosen[1]
    return share == (0 if wanted == "prompt" else 1), f"{share:.2f}"


def rewritten() -> Answer:
    """An earlier answer that the template shortens."""
    from proof.chat import encode_conversation

    tokenizer, chat = rewriting(load_processor(PROCESSOR_CLASS, str(BASE)))
    tokens, trained, _ = encode_conversation(chat, tokenizer, 1)
    return first_answer(tokenizer, tokens, trained)


def merged() -> Answer:
    """Scores of the exported model and of the trained one."""
    from proof.export import export

    path = run("export", "train.max_steps=4", "train.learning_rate=1e-2")
    difference = export(path / "final", WORK / "runs" / "exported")
    return difference < 1e-3, f"{difference:.0e}"


def two_processes() -> Answer:
    """Weights after four steps of two processes and of one, and the first gradient's norm."""
    words = ("train.max_steps=4", "train.global_batch_size=16", "train.micro_batch_size=2")
    base = WORK.parent / "text_classification" / "bert" if not LLM else BASE
    one = run("one", *words, base=base)
    shutil.rmtree(WORK / "runs" / "two", ignore_errors=True)
    configure("two", *words, base=base).write_yaml(WORK / "two.yaml")
    launch = ("scripts/launch.py", "--gpus", "2", "scripts/train.py", "--config")
    done = child(*launch, WORK / "two.yaml")
    assert done.returncode == 0, done.stderr
    two = WORK / "runs" / "two"
    held, text = ratio(lines(two)[0]["grad_norm"], lines(one)[0]["grad_norm"])
    # softmax cancels these: their gradient is rounding, which Adam magnifies
    first, second = (
        {k: v for k, v in weights(p).items() if "key.bias" not in k} for p in (one, two)
    )
    difference = largest_difference(first, second)
    return held and difference < 1e-4, f"{text}; weights differ by {difference:.0e}"


def not_finite() -> Answer:
    """A learning rate that no weights survive."""
    try:
        run("nan", "train.max_steps=5", "train.learning_rate=1e30")
    except UserError as error:
        return "step" in str(error) and "rows" in str(error), f"stops: {str(error)[:64]} …"
    return False, "goes on"


def terminated(launcher: tuple[str, ...] = ()) -> Answer:
    """SIGTERM while it trains."""
    config = configure("term", "train.max_steps=100000", "train.save_every=100000")
    config.write_yaml(WORK / "term.yaml")
    path = Path(config.train.output_dir)
    process = subprocess.Popen(
        [sys.executable, *launcher, "scripts/train.py", "--config", str(WORK / "term.yaml")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": "src"},
    )
    while process.poll() is None and not (path / "metrics.jsonl").is_file():
        time.sleep(0.2)
    process.terminate()
    code = process.wait(60)
    kept = [p for p in path.glob("checkpoints/step-*") if damage(p) is None]
    return code == EXIT_STOPPED and len(kept) == 1, f"exit {code}, {len(kept)} checkpoint"


def out_of_memory() -> Answer:
    """Room for two rows only: against a run that was given micro-batches of two."""
    words = ("train.max_steps=4", "train.global_batch_size=8")
    small = run("oom-2", *words, "train.micro_batch_size=2")
    forward = loop.loss_and_logits

    def room_for_two(model: Any, batch: dict[str, torch.Tensor]) -> Any:
        if len(batch["input_ids"]) > 2:
            raise torch.OutOfMemoryError
        return forward(model, batch)

    loop.loss_and_logits = room_for_two
    try:
        large = run("oom-8", *words, "train.micro_batch_size=8")
    finally:
        loop.loss_and_logits = forward
    difference = largest_difference(weights(small), weights(large))
    return difference == 0, f"8 rows a step; weights differ by {difference:g}"


def cut_answers() -> Answer:
    """The share of rows with an answer that ends in the middle."""
    tokenizer = load_processor(PROCESSOR_CLASS, str(BASE))
    data = load(configure("cut", f"train.max_seq_len={CUT}"), tokenizer)
    ends = [data.train.store.sequence(i)[0].tolist() for i in range(len(data.train.store))]
    bad = sum(tokenizer.eos_token_id not in tokens[-2:] for tokens in ends)
    left_out = data.train.num_dropped
    return bad == 0, f"{bad / len(ends):.2f} ({left_out} rows left out, and said so)"


def all_cut() -> Answer:
    """Nothing of any answer fits."""
    try:
        run("all-cut", "train.max_seq_len=4")
    except UserError as error:
        return "longer than train.max_seq_len" in str(error), "refused"
    return False, "trains"


def damaged() -> Answer:
    """The newest checkpoint's weights cut in half."""
    path = run("damaged", "train.max_steps=4", "train.save_every=2")
    shutil.rmtree(path / "final")
    file = path / "checkpoints/step-000004/trained.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    start = train(configure("damaged", "train.max_steps=4", "train.save_every=2")).run.start
    return start == 2, f"goes on from step {start}"


def configuration() -> Answer:
    """`learning_rate="1e-4"` must become a number or be refused; a misspelt key be refused."""
    rate = configure("typed", "train.learning_rate=1e-4").train.learning_rate
    try:
        configure("typed", "train.learning_rat=1e-4")
    except UserError as error:
        named = "learning_rate" in str(error)
        return named and isinstance(rate, float), "a number; unknown key: did you mean …"
    return False, "an unknown key is accepted"


def master_weights() -> Answer:
    """What is trained when the folder holds bf16."""
    folder = WORK / "base-bf16"
    shutil.copytree(BASE, folder, dirs_exist_ok=True)
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.bfloat16).save_pretrained(folder)
    result = train(configure("master", "train.precision=bf16", base=folder))
    kinds = {str(p.dtype) for p in result.model.parameters() if p.requires_grad}
    return kinds == {"torch.float32"}, ", ".join(sorted(kinds)).replace("torch.", "")


def evaluation() -> Answer:
    """A trained model's loss on the held-out rows, 1 and 8 at a time."""
    words = ("train.learning_rate=1e-12",)
    trained = WORK / "trained"
    path = run("trained", "train.max_steps=40", "train.learning_rate=1e-2")
    shutil.copytree(path / "final", trained)
    found = []
    for size in (1, 8):
        path = run(f"eval-{size}", *words, f"train.micro_batch_size={size}", base=trained)
        found.append(next(x["eval_loss"] for x in lines(path) if "eval_loss" in x))
    difference = abs(found[0] - found[1]) / found[0]
    return difference < 1e-5, f"{difference:.0e}"


def disk_full() -> Answer:
    """No file may grow beyond half of a checkpoint's, from the second checkpoint on."""
    words = ("train.max_steps=4", "train.save_every=2")
    save = loop.Loop.save

    def full(running: loop.Loop) -> None:
        if running.step == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        save(running)

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    loop.Loop.save = full
    said = ""
    try:
        run("full", *words)
    except UserError as error:
        said = str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        loop.Loop.save = save
    start = train(configure("full", *words)).run.start
    return bool(said) and start == 2, f"says so; goes on from step {start}"


def no_pickles() -> Answer:
    """In a whole run."""
    found = pickles(run("files"))
    return not found, ", ".join(found) or "none"


def main() -> None:
    """Ask everything that this project can be asked."""
    shutil.rmtree(WORK, ignore_errors=True)
    if HAS_ADAPTERS:  # they start from the model of the project without any
        shutil.copytree(WORK.parent / TASK / "base", BASE)
    else:
        make_bases()
    ask(probes(), WORK / "ours.json")


def probes() -> dict[str, Probe]:
    """What can be asked in this project, by name."""
    if HAS_ADAPTERS:
        return {f"merged {STRATEGY}": merged}
    if PARALLELISM != "single":
        launcher = ("scripts/launch.py", "--gpus", "2")
        found = {f"two processes {PARALLELISM} {TASK}": two_processes}
        return found | ({"two terminated": partial(terminated, launcher)} if LLM else {})
    bases = [WORK / kind for kind in HEADS] if TASK == "text_classification" else [BASE]
    found = {
        f"accumulation {TASK if base == BASE else base.name}": partial(accumulation, base)
        for base in bases
    }
    found[f"resume {TASK}"] = killed_and_resumed
    if LLM:
        found |= {
            "packed": packed,
            "prompt": partial(trained_tokens, "prompt"),
            "end of turn": partial(trained_tokens, "end"),
            "rewritten": rewritten,
            "cut answers": cut_answers,
            "all cut": all_cut,
            "not finite": not_finite,
            "terminated": terminated,
            "out of memory": out_of_memory,
            "damaged": damaged,
            "disk full": disk_full,
            "pickles": no_pickles,
            "configuration": configuration,
            "master weights": master_weights,
            "evaluation": evaluation,
            "merged full": merged,
        }
    return found


if __name__ == "__main__":
    main()
