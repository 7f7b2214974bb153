"""One page about a run: curves, results, configuration and environment.

`report.html` holds everything it shows and opens without a network. All text that comes
from files is escaped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, TypeGuard

from .charts import Series, line_chart
from .errors import UserError

MAX_LABELS = 25  # a larger confusion matrix is shown as a list of its largest errors
ENVIRONMENT = (
    *("status", "device", "precision", "parameters", "trained_parameters", "seconds", "steps"),
    *("started", "package_version", "git_commit", "git_dirty", "data_sha256", "seed"),
    *("python", "platform", "torch", "transformers", "peft", "tokenizers"),
)
TITLES = {"llm": "language model", "text_classification": "text classification"}


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into `run_dir` and return its path.

    Needs metrics.jsonl; config.yaml, run.json and evaluation.json are used where they are.
    Raises UserError when there is nothing to report on.
    """
    run_dir = Path(run_dir)
    lines, notes = read_metrics(run_dir / "metrics.jsonl")
    run = _read_json(run_dir / "run.json", notes)
    evaluation = _read_json(run_dir / "evaluation.json", notes)
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
    """Dotted keys and their text; enough YAML for the file that a run writes of itself."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found: list[tuple[str, str]] = []
    parents: list[tuple[int, str]] = []
    for line in lines:
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        key, colon, value = text.partition(":")
        if not text or text.startswith("#"):
            continue
        if text.startswith("- ") or not colon or (value and not value.startswith(" ")):
            if found:  # an item of a list, or a long text that goes on
                found[-1] = (found[-1][0], f"{found[-1][1]} {text}".strip())
            continue
        parents = [(depth, name) for depth, name in parents if depth < indent]
        found.append((".".join([*(name for _, name in parents), key]), value.strip()))
        parents.append((indent, key))
    sections = {name.rpartition(".")[0] for name, _ in found}
    return [(name, value) for name, value in found if value or name not in sections]


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
    model = dict(config).get("model.name_or_path", "").strip("'\"")
    facts = [TITLES.get(run.get("task", ""), run.get("task")), model, run.get("device")]
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


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title} · training report</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<style>{style}</style></head>
<body><main>
{body}
</main><script>{script}</script></body></html>
"""

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1a2027; --soft: #5c6773;
  --line: #e3e7eb; --card: #f7f8fa; --train: #2563eb; --eval: #c2570c; --good: #15803d; }
@media (prefers-color-scheme: dark) { :root { --paper: #11151a; --ink: #e6e9ed; --soft: #98a3af;
  --line: #2a323b; --card: #181e25; --train: #6ea8fe; --eval: #f5a04c; --good: #4ade80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 36px 28px 48px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 36px 0 10px; }
h2 span, figcaption span { color: var(--soft); font-weight: 400; font-size: 13px;
  margin-left: 6px; }
header p { margin: 4px 0 0; color: var(--soft); overflow-wrap: anywhere; }
.status { font-size: 12px; font-weight: 600; padding: 2px 9px; border-radius: 99px;
  vertical-align: 4px; color: var(--eval); border: 1px solid currentColor; }
.status.done { color: var(--good); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 1px;
  margin: 24px 0 0; padding: 1px; }
.tiles div { background: var(--card); padding: 12px 16px; box-shadow: 0 0 0 1px var(--line); }
.tiles dt { color: var(--soft); font-size: 13px; }
.tiles dd { margin: 2px 0 0; font-size: 22px; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.tiles small { display: block; min-height: 1.4em; font-size: 12px; font-weight: 400;
  color: var(--soft); }
.notes { margin: 20px 0 0; padding: 10px 16px 10px 32px; border-left: 3px solid var(--eval);
  background: var(--card); font-size: 14px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr));
  gap: 28px 32px; margin-top: 32px; }
.charts.minor { grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr)); }
figure { margin: 0; position: relative; }
figcaption { font-weight: 600; margin-bottom: 6px; }
svg { width: 100%; height: auto; display: block; overflow: visible; }
svg text { font-size: 11.5px; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .label { font-size: 12px; }
.grid { stroke: var(--line); } .axis { stroke: var(--soft); } .pointer { stroke: var(--soft);
  stroke-dasharray: 3 3; }
path { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
path.train { stroke: var(--train); } path.eval { stroke: var(--eval); }
circle.train { fill: var(--train); } circle.eval { fill: var(--eval); }
.legend { position: absolute; top: 1px; right: 12px; display: flex; gap: 16px; margin: 0;
  padding: 0; list-style: none; font-size: 13px; color: var(--soft); }
.legend li::before { content: ""; display: inline-block; width: 14px; height: 3px;
  margin-right: 6px; vertical-align: 4px; background: var(--train); border-radius: 2px; }
.legend li.eval::before { background: var(--eval); }
output { position: absolute; left: 0; bottom: -4px; padding: 2px 8px;
  background: var(--paper); border: 1px solid var(--line); border-radius: 4px; font-size: 12px;
  font-variant-numeric: tabular-nums; pointer-events: none; visibility: hidden; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
.pairs { width: 100%; table-layout: fixed; }
.pairs th { width: 44%; font-weight: 400; color: var(--soft); text-align: left; }
.pairs th, .pairs td { padding: 4px 8px 4px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr));
  gap: 0 48px; }
.scroll { overflow-x: auto; }
.confusion th { font-weight: 500; padding: 5px 10px; text-align: right; max-width: 16em;
  overflow-wrap: anywhere; }
.confusion thead th { text-align: center; vertical-align: bottom; }
.confusion td { min-width: 58px; height: 38px; text-align: center; border: 2px solid var(--paper);
  background: color-mix(in srgb, #2563eb calc(var(--share, 0) * 100%), var(--card)); }
.confusion td.strong { color: #fff; }
.confusion td.score, .confusion thead td, .confusion .score { background: none; color: var(--soft);
  font-weight: 400; }
.empty { color: var(--soft); margin: 0; }
footer { margin-top: 40px; color: var(--soft); font-size: 12.5px; }
@media print { main { padding: 0; } figure, tr { break-inside: avoid; } }
"""

SCRIPT = """
for (const svg of document.querySelectorAll("svg[data-hover]")) {
  const lines = JSON.parse(svg.dataset.hover), output = svg.parentNode.querySelector("output");
  const pointer = svg.querySelector(".pointer"), show = (on) => {
    output.style.visibility = on ? "visible" : "hidden";
    pointer.setAttribute("visibility", on ? "visible" : "hidden");
  };
  svg.addEventListener("pointerleave", () => show(false));
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    const near = lines.map(([name, points]) => [name, points.reduce(
      (a, b) => Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a)]);
    const at = near.reduce((a, b) => Math.abs(b[1][0] - x) < Math.abs(a[1][0] - x) ? b : a)[1];
    pointer.setAttribute("x1", at[0]); pointer.setAttribute("x2", at[0]);
    const text = (y) => Math.abs(y) < 1e-3 && y ? y.toExponential(2) : +y.toPrecision(4);
    output.textContent = [`step ${at[1].toLocaleString("en")}`, ...near
      .filter(([, point]) => point[1] === at[1])
      .map(([name, point]) => `${name} ${text(point[2]).toLocaleString("en")}`)].join(" \u00b7 ");
    show(true);
  });
}
"""
