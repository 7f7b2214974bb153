"""How a probe tells what it found: whether the property held, and the number that it saw."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Answer = tuple[bool, str]
"""Whether the property holds, and what was seen."""
Probe = Callable[[], Answer]

TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
HEADS = {
    "bert": TINY | {"intermediate_size": 64},
    "modernbert": TINY | {"intermediate_size": 64, "global_attn_every_n_layers": 2},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    "llama": TINY | {"intermediate_size": 64},
}
"""Architectures whose classification heads are tried, small."""
CUT = 80
"""Tokens to which rows are cut; some of the sample are longer."""
NO_DROPOUT = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"),
    *("seq_classif_dropout", "classifier_dropout", "embedding_dropout", "mlp_dropout"),
)


def ask(probes: Mapping[str, Probe], target: Path) -> None:
    """Run the probes and write what they found to `target`; a crash is an answer too."""
    found: dict[str, Answer] = {}
    for name, probe in probes.items():
        try:
            found[name] = probe()
        except Exception as error:  # whatever it is: it belongs in the table
            traceback.print_exc()
            found[name] = (False, f"{type(error).__name__}: {first_line(error)}")
        print(f"{name}: {'holds' if found[name][0] else 'does not hold'}: {found[name][1]}")
        target.write_text(json.dumps(found, indent=1), "utf-8")


def first_line(error: BaseException) -> str:
    """The message, short enough for a table."""
    lines = re.sub(r" at /\S+", "", str(error)).strip().splitlines()
    return lines[0][:90] if lines else ""


def ratio(first: float, second: float) -> Answer:
    """Of two gradient norms that should be the same."""
    quotient = first / second
    return abs(quotient - 1) < 1e-3, f"{quotient:.3f}"


def largest_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """Of two models' weights; raises AssertionError when they are not the same ones."""
    assert first.keys() == second.keys() and first
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def pickles(folder: Path) -> Sequence[str]:
    """Names of the files that run code when they are loaded."""
    return sorted(
        {p.name for p in folder.rglob("*") if p.suffix in {".pt", ".pth", ".bin", ".pkl"}}
    )


def answer_tokens(tokenizer: Any, ids: Sequence[int]) -> np.ndarray:
    """Which tokens the assistant writes, found anew from the marks of the sample's template."""
    opening = tokenizer("<|im_start|>assistant\n", add_special_tokens=False)["input_ids"]
    inside, found = False, np.zeros(len(ids), dtype=bool)
    for i in range(len(ids)):
        found[i] = inside
        if list(ids[max(0, i + 1 - len(opening)) : i + 1]) == opening:
            inside = True
        elif ids[i] in [tokenizer.eos_token_id]:
            inside = False
    return found


def rewriting(tokenizer: Any) -> tuple[Any, list[dict[str, str]]]:
    """A template that drops the reasoning of earlier answers, as Qwen3's does, and a chat."""
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if loop.last or "
        "m['role'] != 'assistant' %}{{ m['content'] }}{% else %}{{ m['content'].split('</think>')"
        "[-1] }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    turns = [("user", "a b"), ("assistant", "<think>x</think>c d"), ("user", "e")]
    turns += [("assistant", "<think>y</think>f g")]
    return tokenizer, [{"role": role, "content": content} for role, content in turns]


def first_answer(tokenizer: Any, ids: Sequence[int], has_loss: Sequence[bool]) -> Answer:
    """The share of an earlier, rewritten answer's tokens that has a loss."""
    answer = answer_tokens(tokenizer, ids)
    end = list(ids).index(tokenizer.eos_token_id, int(answer.argmax()))
    found = np.asarray(has_loss)[: end + 1][answer[: end + 1]]
    assert len(found)
    return not found.any(), f"{found.mean():.2f}"
