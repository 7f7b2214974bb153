"""Every question of copier.yml as a page: what it decides, its values, its default and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml
from docs_advisor import ROOT, advise, asked, decided, table

from extensions import overlays
from extensions.advice import Recommendation

# What a computed default follows from; the others stand in copier.yml.
FOLLOWS_FROM = {
    "project_name": "the folder's own files (pyproject.toml, README), else its name",
    "task": "the data in the folder, else a language model",
    "data_file": "the data in the folder that is for the task, else the sample that comes along",
    "data_facts": "what is counted in `data_file`",
    "gpu": "this machine's GPU, else what `budget_usd` rents, else none",
    "gpu_count": "this machine's, else as few as the model needs",
    "framework": "the code in the folder, else Transformers",
    "base_model": "the largest recommended model that trains well on the GPU within the budget",
    "strategy": "what fits the GPU: full, else LoRA, else QLoRA",
    "parallelism": "the number of GPUs, and what one of them can hold",
    "platform": "where the GPU is, the length of the run and the budget",
    "serving": "`target`: a service for servers, a file for small devices",
    "tracking": "the code in the folder",
    "description": "the folder's own files, else the task",
    "author_name": "git's configuration",
    "author_email": "git's configuration",
    "license": "the folder's own licence; proprietary for sensitive data; else Apache-2.0",
    "project_slug": "`project_name`",
    "package_name": "`project_slug`",
    "copyright_year": "today's date",
}
# A default that follows from nothing, as copier.yml writes it.
CONSTANT = re.compile(r"\{\{ usual\('\w+', ('[^']*'|\d+|true|false)\) \}\}")
ASKED = re.compile(r"asks\('\w+', '(quick|full)'\)")


def pages() -> str:
    """Return all questions, in the sections of copier.yml."""
    text = (ROOT / "copier.yml").read_text("utf-8")
    parts = []
    for section, keys in sections(text):
        parts.append(f"## {section}")
        parts += [question(key, spec) for key, spec in keys.items()]
    return "\n\n".join(parts)


def sections(text: str) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Yield each heading of copier.yml with the questions below it."""
    parts = re.split(r"(?m)^# ── (.+?) ─+$", text)
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        found = yaml.safe_load(body) or {}
        keys = {key: spec for key, spec in found.items() if not key.startswith("_")}
        if keys:
            yield heading, keys


def question(key: str, spec: dict[str, Any]) -> str:
    """Return one question."""
    put = ASKED.search(str(spec.get("ask", "")))
    when = f"Asked in `{put[1]}`." if put else "Not asked; stored."
    if put and put[1] == "quick":
        when = "Asked always."
    help_text = re.sub(r"\s*\{\{.*?\}\}", "", spec["help"], flags=re.DOTALL)
    parts = [f"### `{key}`", " ".join(help_text.split()), choices(key), default(key, spec, when)]
    return "\n\n".join(filter(None, parts))


def choices(key: str) -> str:
    """Return the table of values, with the folders of files that each brings."""
    if key == "gpu":
        return "`none`, or one of the [GPUs that are known](advisor.md#gpus)."
    offered = asked()[key].choices or {}
    rows = []
    for text, value in offered.items():
        brings = [overlays.name(key, value)]
        brings += [name for name, (of, values) in overlays.SHARED.items()
                   if of == key and value in values]  # fmt: skip
        there = [f"`{name}`" for name in brings if _has_files(name)]
        meaning = text.partition(" — ")[2] or text
        rows.append((f"`{value}`", meaning, ", ".join(there) or "no files of its own"))
    return table(("value", "meaning", "overlays that it adds"), rows) if rows else ""


def _has_files(overlay: str) -> bool:
    return any((ROOT / "template").rglob(f"{{{{{overlay}}}}}"))


def default(key: str, spec: dict[str, Any], when: str) -> str:
    """Return the default, where it comes from, and the reason given on a machine without a GPU."""
    fixed = CONSTANT.fullmatch(str(spec["default"]))
    if fixed:
        return f"{when} Default: `{fixed[1].strip(chr(39))}`."
    lines = [f"{when} Default: from {FOLLOWS_FROM[key]}."]
    answers, _ = decided(task="llm")
    told = getattr(advise(**answers), key, None)
    if isinstance(told, Recommendation) and told.reason:
        values = told.value if isinstance(told.value, list) else [told.value]
        value = ", ".join(f"`{each}`" for each in values if each != "") or "empty"
        lines.append(f"In an empty folder on a machine without a GPU: {value}. “{told.reason}”")
    return " ".join(" ".join(lines).split())


def names() -> list[str]:
    """Return the keys, in order."""
    return list(asked())


__all__ = ["FOLLOWS_FROM", "names", "pages"]
