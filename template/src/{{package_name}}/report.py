"""One page about a run: curves, results, configuration and environment.

`report.html` holds everything it shows and opens without a network. All text that comes
from files is escaped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, TypeGuard

from .charts import Series, line_chart
from .errors import ConfigError, UserError
from .evaluated import other_rows
from .report_theme import PAGE, SCRIPT, STYLE
from .settings import read_yaml

MAX_LABELS = 25  # a larger confusion matrix is shown as a list of its largest errors
ENVIRONMENT = (
    *("status", "device", "precision", "parameters", "trained_parameters", "seconds", "steps"),
    *("started", "package_version", "git_commit", "git_dirty", "data_sha256", "seed"),
    *("python", "platform", "torch", "transformers", "peft", "tokenizers"),
)


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into `run_dir` and return its path.

    Needs metrics.jsonl; config.yaml, run.json and evaluation.json are used where they are.
    Raises UserError when there is nothing to report on.
    """
    run_dir = Path(run_dir)
    lines, notes = read_metrics(run_dir / "metrics.jsonl")
    run = _read_json(run_dir / "run.json", notes)
    evaluation = _read_json(run_dir / "evaluation.json", notes)
    other = other_rows(run, evaluation)
    if other:
        evaluation = {}
        notes.append(f"evaluation.json is left out: {other}")
    config = _read_config(run_dir / "config.yaml")
    page = _page(run_dir.resolve().name, lines, config, run, evaluation, notes)
    path = run_dir / "report.html"
    temporary = path.with_name(".report.html.writing")
    try:
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    return path


# ------------------------------------------------------------------------------------- reading


def read_metrics(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The lines of metrics.jsonl by rising step, and notes on what could not be read.

    A step logged twice, as after a resume, counts as it was logged last.
    """
    try:
        texts = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        raise UserError(f"{path} cannot be read; train first, or name a run's folder") from None
    kept: dict[tuple[int, bool], dict[str, Any]] = {}
    notes = []
    for number, text in enumerate(texts, start=1):
        try:
            line = json.loads(text) if text.strip() else None
            if line is not None:
                is_evaluation = any(key.startswith("eval_") for key in line)
                kept[int(line["step"]), is_evaluation] = line
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            cut = "; it was cut short, as by a kill" if number == len(texts) else ""
            notes.append(f"line {number} of metrics.jsonl is left out: it is no metrics line{cut}")
    if not kept:
        raise UserError(f"{path} holds no metrics; let the run log at least one step")
    return [kept[key] for key in sorted(kept)], notes


def _read_json(path: Path, notes: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        values = None
    if not isinstance(values, dict):
        notes.append(f"{path.name} is left out: it is not a JSON object")
        return {}
    return values


def _read_config(path: Path) -> list[tuple[str, str]]:
    """Dotted keys and their text; none where there is no readable file."""
    try:
        return list(_flat(read_yaml(path)))
    except ConfigError:
        return []


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            items = ", ".join(map(str, value)) or "[]" if isinstance(value, list) else value
            yield f"{prefix}{key}", "null" if items is None else str(items)


def _points(lines: Iterable[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """(step, value) where `key` was logged; null and text count as not finite."""
    return [(line["step"], _number(line[key])) for line in lines if key in line]


def _number(value: Any) -> float:
    try:
        return math.nan if value is None or isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


# ---------------------------------------------------------------------------------------- page


def _page(
    name: str,
    lines: Sequence[Mapping[str, Any]],
    config: Sequence[tuple[str, str]],
    run: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    notes: list[str],
) -> str:
    gaps = sum(not math.isfinite(y) for _, y in _points(lines, "loss"))
    if gaps:
        notes.append(f"the loss of {gaps:,} logged steps was not finite; the curve has gaps there")
    model = dict(config).get("model.name_or_path", "")
    task = str(run.get("task", "")).replace("_", " ").replace("llm", "language model")
    facts = [task, model, run.get("device")]
    subtitle = " · ".join(escape(str(fact)) for fact in facts if fact)
    status = str(run.get("status", "unknown"))
    badge = f'<span class="status {"done" if status == "done" else ""}">{escape(status)}</span>'
    warnings = "".join(f"<li>{escape(note)}</li>" for note in notes)
    sections = [
        f"<header><h1>{escape(name)} {badge}</h1><p>{subtitle}</p></header>",
        _tiles(lines, run, evaluation),
        f'<ul class="notes">{warnings}</ul>' if warnings else "",
        _charts(lines),
        _confusions(evaluation),
        '<section class="tables">',
        _table("Configuration", config, "there is no config.yaml"),
        _table(
            "Environment",
            [(key, _text(key, run[key])) for key in ENVIRONMENT if run.get(key) is not None],
            "there is no run.json",
        ),
        "</section>",
        f"<footer>written {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}</footer>",
    ]
    return PAGE.format(title=escape(name), style=STYLE, script=SCRIPT, body="\n".join(sections))


def _tiles(
    lines: Sequence[Mapping[str, Any]], run: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> str:
    """The numbers that a reader looks for first."""
    tiles: list[tuple[str, str, str]] = []
    losses = [p for p in _points(lines, "loss") if math.isfinite(p[1])]
    if losses:
        tiles.append(("training loss", f"{losses[-1][1]:.4g}", f"from {losses[0][1]:.4g}"))
    logged = {key: value for line in lines for key, value in line.items() if key[:5] == "eval_"}
    results = {**logged, **{k: v for k, v in evaluation.items() if k[:5] == "eval_"}}
    for key, value in results.items():
        number = _number(value)
        if math.isfinite(number):
            best = [p for p in _points(lines, key) if math.isfinite(p[1])]
            detail = ""
            if key == "eval_loss" and best:
                step, lowest = min(best, key=lambda p: p[1])
                detail = f"lowest {lowest:.4g} at step {step:,}"
            share = key.endswith(("accuracy", "f1")) and 0 <= number <= 1
            shown = f"{number:.1%}" if share else _number_text(number)
            title = key.removeprefix("eval_").replace("_", " ").replace(" f1", " F1")
            tiles.append((f"evaluation {title}", shown, detail))
    steps = max(line["step"] for line in lines)
    seconds = _number(run.get("seconds"))
    tiles.append(("steps", f"{steps:,}", _duration(seconds) if seconds > 0 else ""))
    key, unit = _throughput(lines)
    speeds = sorted(y for _, y in _points(lines, key) if math.isfinite(y)) if key else []
    if speeds:
        tiles.append(("median throughput", _number_text(speeds[len(speeds) // 2]), unit))
    for key, title, form in (
        ("peak_memory_gib", "peak GPU memory", "{:.1f} GiB"),
        ("mfu", "highest MFU", "{:.1%}"),
    ):
        values = [y for _, y in _points(lines, key) if math.isfinite(y)]
        if values:
            tiles.append((title, form.format(max(values)), ""))
    items = "".join(
        f"<div><dt>{escape(title)}</dt><dd>{escape(value)}<small>{escape(detail)}</small></dd></div>"
        for title, value, detail in tiles
    )
    return f'<dl class="tiles">{items}</dl>'


def _throughput(lines: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    for key, unit in (("tokens_per_s", "tokens / s"), ("samples_per_s", "samples / s")):
        if any(key in line for line in lines):
            return key, unit
    return "", ""


def _charts(lines: Sequence[Mapping[str, Any]]) -> str:
    speed, unit = _throughput(lines)
    x = "optimizer step"
    loss = [
        Series("training", _points(lines, "loss")),
        Series("evaluation", _points(lines, "eval_loss"), "eval"),
    ]
    scores = [
        Series(name, _points(lines, key), style)
        for key, name, style in (
            ("eval_accuracy", "accuracy", "train"),
            ("eval_macro_f1", "macro F1", "eval"),
        )
        if any(key in line for line in lines)
    ]
    width = 370 if scores else 560  # three below the first two, or two and two
    charts = [line_chart("Loss", x, "cross-entropy, nats", loss)]
    if scores:
        charts.append(line_chart("Evaluation scores", x, "share, 0 to 1", scores))
    minor = [
        line_chart("Throughput", x, unit, [_named(lines, speed)], from_zero=True, width=width),
        line_chart("Learning rate", x, "", [_named(lines, "learning_rate")], width=width),
        line_chart(
            "Gradient norm",
            x,
            "L2, before clipping",
            [_named(lines, "grad_norm")],
            from_zero=True,
            width=width,
        ),
    ]
    if not scores:
        return f'<section class="charts">{"".join(charts + minor)}</section>'
    return (
        f'<section class="charts">{"".join(charts)}</section>'
        f'<section class="charts minor">{"".join(minor)}</section>'
    )


def _named(lines: Sequence[Mapping[str, Any]], key: str) -> Series:
    return Series(key.replace("_", " "), _points(lines, key))


def _confusions(evaluation: Mapping[str, Any]) -> str:
    """The confusion matrix, rows are the true labels, shaded by share of the row."""
    matrix, labels = evaluation.get("confusion_matrix"), evaluation.get("labels")
    if not _is_square(matrix) or not isinstance(labels, list) or len(labels) != len(matrix):
        return ""
    names = [str(label) for label in labels]
    if len(names) > MAX_LABELS:
        pairs = [
            (count, names[i], names[j])
            for i, row in enumerate(matrix)
            for j, count in enumerate(row)
            if i != j and count
        ]
        largest = sorted(pairs, key=lambda pair: -pair[0])[:20]
        rows = [(f"{true} → {guess}", f"{count:,}") for count, true, guess in largest]
        return _table("Most frequent errors (true → predicted)", rows, "there are none")
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = []
    for i, (name, row) in enumerate(zip(names, matrix, strict=True)):
        total, column = sum(row), sum(other[i] for other in matrix)
        cells = []
        for guess, count in zip(names, row, strict=True):
            share = count / total if total else 0.0
            where = escape(f"{name} predicted as {guess}: {count:,} of {total:,} ({share:.1%})")
            strong = ' class="strong"' if share > 0.55 else ""
            cells.append(f'<td{strong} style="--share:{share:.3f}" title="{where}">{count:,}</td>')
        recall = row[i] / total if total else None
        precision = row[i] / column if column else None
        scores = "".join(
            f'<td class="score">{"&ndash;" if value is None else f"{value:.0%}"}</td>'
            for value in (recall, precision)
        )
        body.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}{scores}</tr>')
    return (
        "<section><h2>Confusion matrix <span>evaluation samples; rows: true label, columns: "
        'predicted label; shade: share of the row</span></h2><div class="scroll">'
        f'<table class="confusion"><thead><tr><td></td>{head}<th class="score">recall</th>'
        f'<th class="score">precision</th></tr></thead><tbody>{"".join(body)}</tbody></table>'
        "</div></section>"
    )


def _is_square(matrix: Any) -> TypeGuard[list[list[int]]]:
    return (
        isinstance(matrix, list)
        and bool(matrix)
        and all(isinstance(row, list) and len(row) == len(matrix) for row in matrix)
        and all(isinstance(n, int) and n >= 0 for row in matrix for n in row)
    )


def _table(title: str, rows: Sequence[tuple[str, str]], missing: str) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>'
        for key, value in rows
    )
    content = f'<table class="pairs">{body}</table>' if rows else f'<p class="empty">{missing}</p>'
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _text(key: str, value: Any) -> str:
    if key in ("git_commit", "data_sha256"):
        return str(value)[:12]
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def _number_text(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"in {seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"in {hours} h {minutes} min" if hours else f"in {minutes} min"
