"""Where the work is done and what surrounds it: task, framework, platform, serving, tracking.

A rule may prefer what is not offered yet: it then says so and recommends what is.
"""

from __future__ import annotations

from typing import Any

from . import problems, sizes, strategies
from .facts import Facts, Plan, Recommendation, duration

LOCAL, MODAL, LAMBDA_LABS, SAGEMAKER = "local", "modal", "lambda_labs", "sagemaker"
PLATFORM_LABELS = {
    LOCAL: "your own machine",
    MODAL: "Modal",
    LAMBDA_LABS: "Lambda Labs",
    SAGEMAKER: "SageMaker",
}
LONG_RUN_HOURS = 24
ENTERPRISE_BUDGET_USD = 5_000
FRAMEWORK_LABELS = {
    "transformers": "Transformers",
    "pytorch": "PyTorch",
    "jax": "JAX",
    "keras": "Keras",
}
SMALL_TARGETS = ("edge", "mobile")


def task(facts: Facts) -> Recommendation:
    """What the data in this folder is for; else a language model."""
    found = getattr(facts.found, "task", None)
    if found and facts.offers("task", found):
        problem = getattr(facts.found.data, "problem", "")
        # said here too: the question about the data is put in `full` only
        unused = f"; to train on it, {problem} (until then the sample is used)" if problem else ""
        return Recommendation(found, f"{facts.found.task_reason}{unused}.")
    return Recommendation("llm", "")


def data_file(facts: Facts) -> Recommendation:
    """The data in this folder, if a project for the task can read it as it is."""
    data = getattr(facts.found, "data", None)
    if data is None:
        return Recommendation("", "")
    if data.task != facts.task:
        return Recommendation("", f"{data.description}: that is data for another task.")
    if data.problem:
        return Recommendation("", f"{data.description}; {data.problem}.")
    return Recommendation(data.path, f"{data.description}.")


def data_facts(facts: Facts) -> dict[str, Any]:
    """Rows, lengths and columns of the answered file; empty where it is not the one found."""
    data = getattr(facts.found, "data", None)
    if data is None or facts.answers.get("data_file") != data.path:
        return {}
    known = {
        "rows": data.rows,
        "mean_tokens": data.mean_tokens,
        "p95_tokens": data.p95_tokens,
        "text_column": data.columns.get("text"),
        "label_column": data.columns.get("label"),
        "eval": data.eval_path,
    }
    return {key: value for key, value in known.items() if value}


def tracking(facts: Facts) -> Recommendation:
    """Those that the code in this folder already uses."""
    found = getattr(facts.found, "tracking", None) or []
    offered = [name for name in found if name in facts.offered.get("tracking", found)]
    if offered:
        return Recommendation(offered, f"{facts.found.tracking_reason}.")
    return Recommendation(
        [], "metrics.jsonl and report.html are enough for one person on one machine."
    )


def framework(facts: Facts) -> Recommendation:
    """Transformers, unless the code in this folder uses another one that is offered."""
    found = getattr(facts.found, "framework", None)
    here = facts.found.framework_reason if found else ""
    if found and found != "transformers":
        if facts.offers("framework", found):
            return Recommendation(found, f"{here}.")
        label = FRAMEWORK_LABELS.get(found, found)
        return Recommendation(
            "transformers",
            f"It trains every model of our list; {label} is not offered yet, though {here}.",
        )
    reason = "It loads and trains every model of our list, with LoRA and QLoRA"
    return Recommendation(
        "transformers",
        f"{reason}; {here}." if here else f"{reason}.",
        _other_frameworks(),
        "Research on the training step itself, TPUs, or a team that knows another one.",
    )


def _other_frameworks() -> tuple[tuple[str, str], ...]:
    return (
        ("pytorch", "you would write the model and load its weights yourself."),
        ("jax", "the best choice for TPUs; few pretrained models load as they are."),
        ("keras", "the shortest code and a way to phones; few large language models."),
    )


def platform(facts: Facts) -> Recommendation:
    """Sensitive data stays; short jobs are for Modal, long ones for Lambda Labs."""
    wanted, why = _best_platform(facts)
    rejected = tuple(
        (other, text)
        for other, text in _platform_trade_offs(facts)
        if other not in (wanted, LOCAL) and facts.offers("platform", other)
    )
    if wanted != LOCAL and facts.offers("platform", wanted):
        rejected = ((LOCAL, "needs a machine with that GPU that you can log in to."), *rejected)
    changes = f"Sensitive data, or a run of more than {LONG_RUN_HOURS} hours."
    if facts.offers("platform", wanted):
        return Recommendation(wanted, why, rejected, changes)
    label = PLATFORM_LABELS[wanted]
    return Recommendation(
        LOCAL,
        f"{why} This version writes no files for {label}: log in to a machine there, "
        "and it is local.",
        rejected,
        changes,
    )


def _best_platform(facts: Facts) -> tuple[str, str]:
    if facts.is_sensitive:
        return LOCAL, "Sensitive data stays on your own machines."
    if facts.gpu is None:
        return LOCAL, "Training on a CPU needs no rented machine."
    present = {_table_name(facts, product) for product in facts.detected()}
    if facts.gpu.name in present:
        return LOCAL, f"This machine has the {facts.gpu.name}; it costs electricity only."
    if facts.budget_usd >= ENTERPRISE_BUDGET_USD:
        why = f"{facts.budget_usd:g} USD is an organisation's budget: "
        return SAGEMAKER, f"{why}SageMaker has its accounts, roles and audit trail."
    hours = assumed_hours(facts)
    if hours is None:
        return LOCAL, "The length of this run is not known here."
    takes = f"The run is estimated at {duration(hours)} on {facts.gpu_count} x {facts.gpu.name}: "
    if hours.high >= LONG_RUN_HOURS:
        return LAMBDA_LABS, f"{takes}so long that a low price an hour counts, as at Lambda Labs."
    return MODAL, f"{takes}short enough for Modal, which bills by the second."


def _platform_trade_offs(facts: Facts) -> tuple[tuple[str, str], ...]:
    away = "the data would leave your machines." if facts.is_sensitive else ""
    return (
        (MODAL, away or "bills by the second, which a long run pays for dearly."),
        (LAMBDA_LABS, away or "whole machines by the hour; an idle one goes on costing."),
        (SAGEMAKER, away or "dearer by the hour, with more to set up; for organisations on AWS."),
    )


def _table_name(facts: Facts, product: str) -> str:
    try:
        return str(facts.estimate.find_gpu(product).name)
    except facts.estimate.EstimateError:
        return ""


def assumed_hours(facts: Facts) -> Any:
    """A Range for the answered plan on the data that is found or assumed; None: not known."""
    shape = facts.shape
    if facts.gpu is None or shape is None:
        return None
    plan = answered_plan(facts)
    chosen = sizes.sizes(facts, plan).value
    return facts.hours(shape, plan, chosen)


def answered_plan(facts: Facts) -> Any:
    """The answered strategy and parallelism; where there is no answer yet, the recommended."""
    strategy = facts.answers.get("strategy") or strategies.strategy(facts).value
    spread = facts.answers.get("parallelism")
    spread = spread or strategies.parallelism(facts, strategy).value
    return Plan(strategy, spread)


def serving(facts: Facts) -> Recommendation:
    """A service where there are servers; a file for a small device."""
    target = facts.answers.get("target") or "cloud"
    if target in SMALL_TARGETS:
        if facts.offers("serving", "onnx") and not problems.serving(facts, "onnx"):
            return Recommendation(
                ["onnx"], f"On {target} a runtime loads a file; there is no server."
            )
        return Recommendation(
            [], f"On {target} nothing is served: export the model with make export."
        )
    return Recommendation(
        ["fastapi"],
        "An HTTP service of your own, without a vendor.",
        _other_servings(facts),
        "Nobody who could run a service, or a device that runs the model itself.",
    )


def _other_servings(facts: Facts) -> tuple[tuple[str, str], ...]:
    endpoints = (
        "the inputs would leave your machines."
        if facts.is_sensitive
        else "hosted for you, but their container computes one request at a time, and its "
        "version 0.5.6 does not start with Transformers 5; an image of your own, with FastAPI, "
        "runs there too."
    )
    others = (("hf_endpoints", endpoints),)
    return tuple(other for other in others if facts.offers("serving", other[0]))
