"""What the template recommends, as tables: computed by the rules that answer at the questions."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from extensions import advice, context, questions  # noqa: E402
from extensions.rules import facts, hardware, models, places, sizes, strategies  # noqa: E402

# In the order of the questions; each is answered with what is recommended before the next is put.
ORDER = ("gpu", "gpu_count", "base_model", "strategy", "parallelism", "platform", "serving")
MACHINES = (
    ("none", 1),
    ("T4", 1),
    ("L4", 1),
    ("RTX 4090", 1),
    ("A100-80GB", 1),
    ("H100", 1),
    ("H100", 8),
)
MODELS = (
    "meta-llama/Llama-3.2-1B",
    "meta-llama/Llama-3.1-8B",
    "Qwen/Qwen2.5-14B",
    "Qwen/Qwen2.5-32B",
    "meta-llama/Llama-3.1-70B",
)
BUDGETS_USD = (1, 2, 5, 10000)
RULES = (
    ("gpu", hardware.gpu),
    ("gpu_count", hardware.gpu_count),
    ("base_model", models.base_model),
    ("strategy, parallelism", strategies),
    ("platform", places.platform),
    ("serving", places.serving),
    ("precision", sizes.precision),
)
_ASSUMED = re.compile(r" \((?:assuming )?([\d,]+ rows of [\d,]+ tokens, \d+ epochs)\)")


@cache
def template() -> context.Template:
    """Return this clone of the template: its tables and rules."""
    return context.Template(Environment(autoescape=False))


@cache
def asked() -> dict[str, questions.Question]:
    """Return the questions by key."""
    return questions.read(ROOT / "copier.yml")


def advise(**answers: Any) -> advice.Advice:
    """Return the advice for these answers, in an empty folder on a machine without a GPU."""
    offered = {key: list(q.choices.values()) for key, q in asked().items() if q.choices}
    estimate, recommended = template().estimate, template().recommended
    return advice.Advice(answers, estimate, recommended, offered, None, tuple)


def decided(**answers: Any) -> tuple[dict[str, Any], advice.Advice]:
    """Answer in turn what is not given, and return the answers with the advice for all of them."""
    for key in ORDER:
        if key not in answers:
            answers[key] = getattr(advise(**answers), key).value
    return answers, advise(**answers)


def by_task() -> str:
    """Return a table for each task: what is recommended on which GPU."""
    parts = []
    for label, task in (asked()["task"].choices or {}).items():
        rows, assumed = [], ""
        for gpu, count in MACHINES:
            answers, told = decided(task=task, gpu=gpu, gpu_count=count)
            said = _ASSUMED.search(told.prediction)
            assumed = said[1] if said else assumed
            rows.append(
                (
                    _machine(gpu, count),
                    f"`{answers['base_model']}`",
                    f"{answers['strategy']}, {answers['parallelism']}",
                    _sizes(told),
                    _expected(told),
                )
            )
        data = f"Memory is of the sizes in the table; time is for {assumed}." if assumed else ""
        head = ("on", "start from", "train", "sizes", "expect")
        parts += [f"### {label.split(' — ')[0].capitalize()}", data, table(head, rows)]
    return "\n\n".join(filter(None, parts))


def by_model() -> str:
    """Return how language models of any size are trained, from one GPU to several."""
    rows = []
    for model in MODELS:
        cells = [f"`{model}`"]
        for gpu, count in MACHINES[1:]:
            known = {"task": "llm", "base_model": model, "gpu": gpu, "gpu_count": count}
            refused = advise(**known).base_model_problem
            if refused:
                cells.append("refused")
                continue
            answers, told = decided(**known)
            needs = re.search(r"about ([\d.]+) of", told.prediction)
            shared = "" if answers["parallelism"] == "single" else f", {answers['parallelism']}"
            cells.append(f"{answers['strategy']}{shared}: {needs[1] if needs else '?'} GiB")
        rows.append(tuple(cells))
    return table(("model", *(_machine(gpu, count) for gpu, count in MACHINES[1:])), rows)


def by_budget() -> str:
    """Return what a budget rents for a language model."""
    rows = []
    for budget in BUDGETS_USD:
        answers, told = decided(task="llm", budget_usd=float(budget))
        rows.append(
            (
                f"{budget:,} USD",
                _machine(answers["gpu"], answers["gpu_count"]),
                f"`{answers['base_model']}`",
                answers["strategy"],
                told.platform.reason,
                _expected(told),
            )
        )
    return table(("budget", "rent", "start from", "train", "where", "expect"), rows)


def refusals() -> str:
    """Return what is refused, in the words in which it is."""
    rows: list[tuple[str, str]] = []

    def add(what: str, sentence: str) -> None:
        if not sentence:
            raise ValueError(f"the documentation says that this is refused, and it is not: {what}")
        rows.append((what, f"“{sentence}”"))

    llm: dict[str, Any] = {"task": "llm"}
    add("several processes without a GPU", advise(gpu="none").parallelism_problem("ddp"))
    shared: dict[str, Any] = {"gpu": "T4", "gpu_count": 4}
    add("fsdp on GPUs without bf16", advise(**shared).parallelism_problem("fsdp"))
    both: dict[str, Any] = {"gpu": "H100", "gpu_count": 4, "strategy": "qlora"}
    add("QLoRA with fsdp", advise(**llm, **both).parallelism_problem("fsdp"))
    idle: dict[str, Any] = {"gpu": "H100", "gpu_count": 4, "base_model": MODELS[1]}
    add("one process on four GPUs", advise(**llm, **idle).parallelism_problem("single"))
    add("adapters for random weights", advise(base_model="scratch").strategy_problem("lora"))
    small: dict[str, Any] = {"gpu": "T4", "base_model": MODELS[0]}
    add("a strategy that cannot fit", advise(**llm, **small).strategy_problem("full"))
    large: dict[str, Any] = {"gpu": "T4", "base_model": MODELS[-1]}
    add("a model that cannot fit", advise(**llm, **large).base_model_problem)
    other: dict[str, Any] = {"base_model": "distilbert/distilbert-base-uncased"}
    add("a model for another task", advise(**llm, **other).base_model_problem)
    add("more GPUs than there are", advise(gpu="none", gpu_count=2).gpu_count_problem)
    add("ONNX for generated text", advise(**llm).serving_problem("onnx"))
    return table(("what", "what is said"), rows)


def rules() -> str:
    """Return the rules in the words of their own docstrings."""
    rows = []
    for key, source in RULES:
        text = inspect.getdoc(source) or ""
        if inspect.ismodule(source):  # its first line says what it is about, the next what holds
            text = text.partition("\n\n")[2].removeprefix("The rule: ")
        path = Path(inspect.getsourcefile(source) or "").resolve().relative_to(ROOT).as_posix()
        text = " ".join(text.split())
        rows.append((key, text[0].upper() + text[1:], f"[{Path(path).name}](../{path})"))
    return table(("question", "rule", "code"), rows)


def gpus() -> str:
    """Return the table of GPUs, with the cheapest price of one that is known."""
    rows = []
    for gpu in template().estimate.gpus().values():
        quotes = template().estimate.quotes(gpu.name, 1)
        quote = next((quote for quote in quotes if not quote.stale), None)
        price = ""
        if quote is not None:
            idle = f", with {quote.idle_gpus} more in the machine" if quote.idle_gpus else ""
            price = f"{quote.usd_per_hour:.2f} ({quote.provider}, {quote.as_of}{idle})"
        bf16 = f"{gpu.bf16_tflops:.0f}" if gpu.bf16_tflops else "none"
        rows.append((gpu.name, f"{gpu.memory_gib:.1f}", bf16, f"{gpu.fp16_tflops:.0f}", price))
    head = ("GPU", "usable GiB", "bf16 TFLOPS", "fp16 TFLOPS", "from USD an hour")
    return table(head, rows)


def recommended() -> str:
    """Return the models to start from, by task."""
    known = facts.Facts({}, template().estimate, template().recommended, {})
    rows = [
        (task, f"`{name}`", facts.size(known.shape_of(name)))
        for task, names in template().recommended.items()
        for name in names
    ]
    return table(("task", "model", "parameters"), rows)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(_table_lines(tuple(head), rows))


def _table_lines(head: tuple[str, ...], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"


def _machine(gpu: str, count: int) -> str:
    if gpu == "none":
        return "a CPU"
    return gpu if count == 1 else f"{count} x {gpu}"


def _sizes(told: advice.Advice) -> str:
    value = told.sizes.value
    again = ", recomputed activations" if value["activation_checkpointing"] else ""
    batch = f"{value['micro_batch_size']} of {value['global_batch_size']} rows"
    return f"{told.precision.value}, {batch}, {value['max_seq_len']} tokens{again}"


def _expected(told: advice.Advice) -> str:
    """`18.4 of 22.0 GiB; 3 to 7 hours, 2 to 5 USD`, of the prediction's sentences."""
    memory = re.search(r"needs about (.+?)\.(?: |$)", told.prediction)
    took = re.search(r" take (.+)\.$", told.prediction)
    parts = [memory[1] if memory else "", took[1] if took else ""]
    return "; ".join(filter(None, parts)).replace(" where it is rented", "")
