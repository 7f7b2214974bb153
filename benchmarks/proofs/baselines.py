r"""The same properties of transformers.Trainer and TRL's SFTTrainer.

python baselines.py trainer|trl WORK CHATS.jsonl          writes WORK/TOOL.json
python baselines.py trainer|trl WORK CHATS.jsonl JSON     one training, in a process of its own

Both get the models and rows that ours.py left in WORK, and their defaults unless a line says
otherwise.
"""

from __future__ import annotations

import json
import shutil
import sys
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
    first_line,
    ratio,
    rewriting,
)
from failures import (
    damaged,
    disk_full,
    killed_and_resumed,
    no_pickles,
    not_finite,
    out_of_memory,
    stopped,
)
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    Trainer,
    TrainingArguments,
)
from trl import SFTConfig

from tools import (
    BASE,
    CLASSES,
    TOOL,
    TRL,
    WORK,
    Normalized,
    chats,
    on_chats,
    on_rows,
    one,
    process,
)

MARKED = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{% else %}"
    "{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""The template of the sample, with the marks that TRL's `assistant_only_loss` reads."""


def accumulation(task: str, base: Path, remedy: bool = False) -> Answer:
    """The norm of one step's gradient in micro-batches of 2 and in one of 16."""
    norms = []
    for size in (2, 16):
        sizes = {"per_device_train_batch_size": size, "gradient_accumulation_steps": 16 // size}
        if TRL:
            trainer = on_chats("ga", base, count=16, **sizes)
        else:
            kind = Normalized if remedy else Trainer
            trainer = on_rows("ga", task, base, trainer=kind, **sizes)
        trainer.train()
        norms.append(float(trainer.state.log_history[0]["grad_norm"]))
    return ratio(*norms)


def two_processes(task: str, base: Path) -> Answer:
    """Two processes with 4 micro-batches of 2 each, against one with 16 rows at once."""
    job = {"task": task, "base": str(base), **({"count": 16} if TRL else {})}
    norms = [
        process(
            {
                **job,
                "name": f"processes-{number}",
                "per_device_train_batch_size": size,
                "gradient_accumulation_steps": 16 // size // number,
            },
            number,
        )
        for number, size in ((2, 2), (1, 16))
    ]
    return ratio(*norms)


def packed() -> Answer:
    """Logits of packed documents against each alone; without TRL, what an all-ones mask does."""
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    model = AutoModelForCausalLM.from_pretrained(BASE).eval()
    if TRL:
        trainer = on_chats("packed", packing=True, per_device_train_batch_size=1)
        batch = next(iter(trainer.get_train_dataloader()))
    else:
        texts = [tokenizer.apply_chat_template(c, tokenize=False) for c in chats(3)]
        parts = [tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts]
        ids = torch.tensor([[token for part in parts for token in part]])
        positions = torch.cat([torch.arange(len(p)) for p in parts])[None]
        mask = torch.ones_like(ids)
        batch = {"input_ids": ids, "position_ids": positions, "attention_mask": mask}
    given = {k: v for k, v in batch.items() if k in ("input_ids", "position_ids", "attention_mask")}
    starts = (given["position_ids"][0] == 0).nonzero().flatten().tolist()
    ends = [*starts[1:], given["input_ids"].shape[1]]
    with torch.inference_mode():
        together = model(**given, use_cache=False).logits[0]
        largest = max(
            float((together[a:b] - model(given["input_ids"][:, a:b]).logits[0]).abs().max())
            for a, b in zip(starts, ends, strict=True)
        )
    assert len(starts) > 1
    return largest <= 1e-5, f"{largest:.0e}" + ("" if TRL else " with an all-ones mask")


def batches(trainer: Trainer) -> list[tuple[list[int], list[bool]]]:
    """Rows as the model gets them: tokens, and which have a loss."""
    found = []
    for batch in trainer.get_train_dataloader():
        for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
            found.append((ids.tolist(), (labels != -100).tolist()))
    return found


def share(trainer: Trainer, wanted: str) -> float:
    """Of the prompts' tokens, or of the ends of turns: how many have a loss."""
    tokenizer: Any = trainer.processing_class or trainer.data_collator.tokenizer
    end = AutoTokenizer.from_pretrained(BASE).eos_token_id
    plain = AutoTokenizer.from_pretrained(BASE)
    chosen, number = 0, 0
    for ids, has_loss in batches(trainer):
        answer = answer_tokens(plain, ids)
        padding = np.cumsum(np.asarray(ids)[::-1] != plain.pad_token_id)[::-1] == 0
        where = ~answer & ~padding if wanted == "prompt" else answer & (np.asarray(ids) == end)
        chosen, number = chosen + int(np.asarray(has_loss)[where].sum()), number + int(where.sum())
    assert number and tokenizer is not None
    return chosen / number


def prompt() -> Answer:
    """The defaults; for TRL also what its documentation recommends for conversations."""
    found = share(on_chats("masks"), "prompt")
    if not TRL:
        return found == 0, f"{found:.2f}"
    split = [{"prompt": c[:-1], "completion": c[-1:]} for c in chats()]
    apart = share(on_chats("masks", rows=split), "prompt")
    folder, tokenizer = WORK / "trl-marked", AutoTokenizer.from_pretrained(BASE)
    shutil.copytree(BASE, folder, dirs_exist_ok=True)
    tokenizer.chat_template = MARKED
    tokenizer.save_pretrained(folder)
    marked = share(on_chats("masks", folder, assistant_only_loss=True), "prompt")
    return found == 0, (
        f"{found:.2f}; {apart:.2f} with `prompt` and `completion` apart; {marked:.2f} with "
        "`assistant_only_loss` and a template with `{% generation %}`"
    )


def end_of_turn() -> Answer:
    """For Trainer's collator also with the padding that models without one are given."""
    trainer = on_chats("masks")
    found = share(trainer, "end")
    if TRL:
        return found == 1, f"{found:.2f}"
    trainer.data_collator.tokenizer.pad_token = trainer.data_collator.tokenizer.eos_token
    padded = share(trainer, "end")
    return found == padded == 1, f"{found:.2f}; where padding is the end token: {padded:.2f}"


def rewritten() -> Answer:
    """An earlier answer that the template shortens."""
    tokenizer, chat = rewriting(AutoTokenizer.from_pretrained(BASE))
    folder = WORK / f"{TOOL}-rewriting"
    shutil.copytree(BASE, folder, dirs_exist_ok=True)
    tokenizer.save_pretrained(folder)
    trainer = on_chats("rewritten", folder, rows=[{"messages": chat}])
    return first_answer(tokenizer, *batches(trainer)[0])


def cut_answers() -> Answer:
    """Rows whose last token within the limit is not an answer's end."""
    rows = batches(on_chats("cut", cut=CUT))
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    real = [[i for i in ids if i != tokenizer.pad_token_id] for ids, _ in rows]
    bad = sum(tokenizer.eos_token_id not in ids[-2:] for ids in real) / len(rows)
    return bad == 0, f"{bad:.2f}"


def all_cut() -> Answer:
    """Nothing of any answer fits."""
    split = [{"prompt": c[:-1], "completion": c[-1:]} for c in chats()]
    try:
        trainer = on_chats("all-cut", cut=4, max_steps=3, **({"rows": split} if TRL else {}))
        trainer.train()
    except ValueError as error:  # not for this reason, but it does not train
        return True, f"ends with ValueError: {first_line(error)}"
    losses = [f"{float(x['loss']):.3g}" for x in trainer.state.log_history if "loss" in x]
    return False, f"trains; loss {', '.join(losses)}"


def configuration() -> Answer:
    """A learning rate as text, as YAML gives `1e-4`, and a misspelt key."""
    kind = SFTConfig if TRL else TrainingArguments
    accepted = kind(output_dir="x", use_cpu=True, bf16=False, learning_rate="1e-4").learning_rate
    try:
        kind(output_dir="x", learning_rat=1e-4)
        unknown = "accepted"
    except TypeError:
        unknown = "refused"
    return isinstance(accepted, float), f"{type(accepted).__name__} accepted; unknown key {unknown}"


def master_weights() -> Answer:
    """What is trained when the folder holds bf16, in mixed precision."""
    trainer = on_chats("master", WORK / "llm" / "base-bf16", bf16=True)
    kinds = {str(p.dtype) for p in trainer.model.parameters() if p.requires_grad}
    return kinds == {"torch.float32"}, ", ".join(sorted(kinds)).replace("torch.", "")


def evaluation() -> Answer:
    """The loss of a trained model on the same rows, 1 and 8 at a time."""
    trained = WORK / "llm" / "trained"
    found = [
        on_chats("eval", trained, per_device_eval_batch_size=size).evaluate()["eval_loss"]
        for size in (1, 8)
    ]
    difference = abs(found[0] - found[1]) / found[0]
    return difference < 1e-5, f"{difference:.0e}"


def merged(quantized: bool) -> Answer:
    """Logits of merge_and_unload, which PEFT offers, and of the trained adapters."""
    model: Any = str(BASE)
    if quantized:
        rounding = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
        model = AutoModelForCausalLM.from_pretrained(
            BASE, quantization_config=rounding, dtype=torch.float32
        )
    lora = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = on_chats("merge", model=model, peft_config=lora, max_steps=4, learning_rate=1e-2)
    trainer.train()
    trained = trainer.model.eval()
    ids = torch.arange(10, 40)[None]
    # with gradients: bitsandbytes' kernel for inference wants other widths
    before = trained(input_ids=ids).logits.detach()
    after = trained.merge_and_unload()(input_ids=ids).logits.detach()
    difference = float((before - after).abs().max())
    return difference < 1e-3, f"{difference:.0e} (PEFT's `merge_and_unload`)"


def main() -> None:
    """Ask everything that this tool can be asked."""
    if len(sys.argv) > 4:
        one(json.loads(sys.argv[4]))
        return
    text = {f"accumulation {k}": WORK / "text_classification" / k for k in HEADS}
    probes: dict[str, Probe] = {
        "accumulation llm": partial(accumulation, "llm", BASE),
        "two processes ddp llm": partial(two_processes, "llm", BASE),
        "resume llm": partial(killed_and_resumed, "llm"),
    }
    if TRL:
        probes |= {f"merged {k}": partial(merged, k == "qlora") for k in ("lora", "qlora")}
    else:
        probes |= {k: partial(accumulation, "text_classification", v) for k, v in text.items()}
        probes["accumulation bert, remedy"] = partial(
            accumulation, "text_classification", text["accumulation bert"], remedy=True
        )
        probes["two processes ddp text_classification"] = partial(
            two_processes, "text_classification", text["accumulation bert"]
        )
        for task in ("image_classification", "audio_classification", "multimodal"):
            probes[f"accumulation {task}"] = partial(accumulation, task, WORK / task / "base")
        for task in [t for t in CLASSES if t != "llm"]:
            probes[f"resume {task}"] = partial(killed_and_resumed, task)
    probes |= {
        "packed": packed,
        "prompt": prompt,
        "end of turn": end_of_turn,
        "rewritten": rewritten,
        "cut answers": cut_answers,
        "all cut": all_cut,
        "not finite": not_finite,
        "terminated": stopped,
        "out of memory": out_of_memory,
        "damaged": damaged,
        "disk full": disk_full,
        "pickles": no_pickles,
        "configuration": configuration,
        "master weights": master_weights,
        "evaluation": evaluation,
    }
    ask(probes, WORK / f"{TOOL}.json")


if __name__ == "__main__":
    main()
