"""What `discovery` finds in a folder. A module apart: a new folder needs no more than this."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DataFile:
    """A file of rows, or a folder with a folder of images or recordings for each class."""

    path: str
    """Relative, with slashes."""
    format: str
    """csv, tsv, jsonl, json, parquet, txt, image_folder, audio_folder"""
    rows: int
    rows_exact: bool
    """Whether all were counted; else `rows` extrapolates from what was read."""
    columns: dict[str, str] = field(default_factory=dict)
    """Role → column; roles: messages, prompt, completion, image, audio, text, label."""
    mean_tokens: int | None = None
    """Tokens of a row, a token taken as four bytes; None where no text was read."""
    p95_tokens: int | None = None
    max_tokens: int | None = None
    """The longest row of those that were read."""
    classes: int | None = None
    """Those that were seen; None where there is no label or no value of one was read."""
    bytes: int = 0
    eval_path: str | None = None
    """What lies beside it for evaluation."""
    problem: str = ""
    """What to mend before a generated project can read it; empty if nothing."""

    @property
    def task(self) -> str | None:
        """The task that such data is for, as the question `task` names it."""
        has = self.columns.keys()
        if self.format == "image_folder" or {"image", "label"} <= has:
            return "image_classification"
        if self.format == "audio_folder" or {"audio", "label"} <= has:
            return "audio_classification"
        if "audio" in has:
            return None  # speech to text: no task of this template
        if "image" in has:
            return "multimodal" if has & {"messages", "prompt", "text"} else None
        if {"text", "label"} <= has:
            return "text_classification"
        return "llm" if has & {"messages", "prompt", "text"} else None

    @property
    def description(self) -> str:
        """The file, its size and columns, as the beginning of a sentence."""
        about = "" if self.rows_exact else "about "
        if self.format.endswith("_folder"):
            kind = "images" if self.format == "image_folder" else "recordings"
            where = "this folder" if self.path == "." else self.path
            return f"{where} holds {about}{self.rows:,} {kind} in {self.classes} classes"
        said = [f"{role} in `{column}`" for role, column in self.columns.items() if role != column]
        plain = [f"`{column}`" for role, column in self.columns.items() if role == column]
        listed = " and ".join([*([", ".join(plain)] if plain else []), *said])
        number = f"; {self.classes} classes" if self.classes else ""
        return f"{self.path} has {about}{self.rows:,} rows with {listed}{number}"


@dataclass(frozen=True)
class Found:
    """What was found; None, empty or False for what was not."""

    framework: str | None = None
    framework_reason: str = ""
    tracking: list[str] = field(default_factory=list)
    tracking_reason: str = ""
    data: DataFile | None = None
    task: str | None = None
    task_reason: str = ""
    git_remote: str | None = None
    """The page of `origin`, without user and password."""
    project_name: str | None = None
    description: str | None = None
    requires_python: str | None = None
    license: str | None = None
    """One of those that the question `license` offers."""
