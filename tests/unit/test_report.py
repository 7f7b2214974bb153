"""The page about a run: what it shows, what it survives, and that it needs no network."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.unit

PACKAGE = Path(__file__).resolve().parents[2] / "template" / "src" / "{{package_name}}"
HOSTILE = '<script>alert("1")</script> & </title>'


@pytest.fixture
def report() -> Iterator[Any]:
    """The module as part of a package, as its relative imports need."""
    package = ModuleType("generated_for_report")
    package.__path__ = [str(PACKAGE)]
    sys.modules[package.__name__] = package
    yield importlib.import_module("generated_for_report.report")
    for name in [name for name in sys.modules if name.startswith(package.__name__)]:
        del sys.modules[name]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run with nothing but ten logged steps and two evaluations."""
    folder = tmp_path / "first-run"
    folder.mkdir()
    lines: list[dict[str, Any]] = []
    for step in range(10, 110, 10):
        speed = {"samples_per_s": 1234.0 + step}
        lines.append(
            {"step": step, "loss": 5 / step, "learning_rate": 1e-5, "grad_norm": 1.0, **speed}
        )
        if step % 50 == 0:
            lines.append({"step": step, "eval_loss": 6 / step, "eval_accuracy": step / 200})
    write_metrics(folder, lines)
    return folder


def write_metrics(folder: Path, lines: list[dict[str, Any]], end: str = "") -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text + end, "utf-8")


class Page(HTMLParser):
    """Collects tags, attributes and text, and fails on tags that do not match."""

    VOID = frozenset({"meta", "line", "path", "circle"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def read(path: Path) -> Page:
    return Page(path.read_text("utf-8"))


def test_metrics_alone_make_a_page(report: Any, run_dir: Path) -> None:
    path = report.write_report(run_dir)
    assert path == run_dir / "report.html"
    page = read(path)
    assert page.count("svg") == 5  # loss, scores, throughput, learning rate, gradient norm
    assert "first-run" in page.text
    assert "0.05\n" in page.text  # the last training loss
    assert "50.0%" in page.text  # the last accuracy
    assert "lowest 0.06 at step 100" in page.text
    assert [p.name for p in run_dir.iterdir() if p.name.startswith(".")] == []


def test_the_page_needs_no_network(report: Any, run_dir: Path) -> None:
    html = report.write_report(run_dir).read_text("utf-8")
    assert not re.search(r"https?://|//[a-z]|@import|url\(", html)
    assert not {"link", "img", "iframe"} & {tag for tag, _ in Page(html).tags}


def test_text_from_files_cannot_become_markup(report: Any, run_dir: Path) -> None:
    (run_dir / "config.yaml").write_text(f"model:\n  name_or_path: '{HOSTILE}'\n", "utf-8")
    run = {"task": HOSTILE, "device": HOSTILE, "status": HOSTILE, "python": HOSTILE}
    (run_dir / "run.json").write_text(json.dumps(run), "utf-8")
    evaluation = {"confusion_matrix": [[1, 0], [2, 3]], "labels": [HOSTILE, '" onload="x']}
    (run_dir / "evaluation.json").write_text(json.dumps(evaluation), "utf-8")
    page = read(report.write_report(run_dir))
    assert page.count("script") == 1
    assert not any("onload" in attributes for _, attributes in page.tags)
    assert HOSTILE in page.text.replace("\n", "") or "alert" in page.text


def test_a_last_line_cut_short_is_left_out_with_a_note(report: Any, run_dir: Path) -> None:
    with (run_dir / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 110, "lo')
    page = read(report.write_report(run_dir))
    assert "line 13 of metrics.jsonl is left out" in page.text
    assert "cut short" in page.text


def test_a_loss_that_is_not_finite_is_a_gap_and_a_note(report: Any, run_dir: Path) -> None:
    lines = [{"step": s, "loss": None if s == 2 else 1.0 / s} for s in range(1, 5)]
    write_metrics(run_dir, lines, end='{"step": 5, "loss": NaN}\n')
    page = read(report.write_report(run_dir))
    assert "the loss of 2 logged steps was not finite" in page.text
    paths = [attributes["d"] or "" for tag, attributes in page.tags if tag == "path"]
    assert paths[0].count("M") == 2
    assert "nan" not in paths[0]


def test_a_step_logged_twice_counts_once_as_logged_last(report: Any, run_dir: Path) -> None:
    write_metrics(run_dir, [{"step": 1, "loss": 9.0}, {"step": 2, "loss": 8.0}] * 1)
    lines, _ = report.read_metrics(run_dir / "metrics.jsonl")
    write_metrics(run_dir, [*lines, {"step": 2, "loss": 7.0}, {"step": 2, "eval_loss": 6.0}])
    lines, notes = report.read_metrics(run_dir / "metrics.jsonl")
    assert [line.get("loss") for line in lines] == [9.0, 7.0, None]
    assert notes == []


def test_damaged_side_files_are_left_out_with_a_note(report: Any, run_dir: Path) -> None:
    (run_dir / "run.json").write_text("{", "utf-8")
    (run_dir / "evaluation.json").write_text('[{"a": 1}]', "utf-8")
    page = read(report.write_report(run_dir))
    assert "run.json is left out" in page.text
    assert "evaluation.json is left out" in page.text


def test_an_evaluation_of_other_rows_is_left_out_with_a_note(report: Any, run_dir: Path) -> None:
    run = {"eval_sha256": "a" * 64, "eval_rows": 10}
    own = {"data": "data/eval.csv", "rows": 10, "data_sha256": "a" * 64, "eval_accuracy": 0.123}
    (run_dir / "run.json").write_text(json.dumps(run), "utf-8")
    for changed in ({}, {"data_sha256": "b" * 64}, {"rows": 9}):
        (run_dir / "evaluation.json").write_text(json.dumps(own | changed), "utf-8")
        page = read(report.write_report(run_dir))
        assert ("12.3%" in page.text) == (not changed)
        assert ("eval.csv (" in page.text and "is not what the run held out" in page.text) == bool(
            changed
        )


@pytest.mark.parametrize("text", ["", "\n\n", "no metrics\n", '["step"]\n{"loss": 1}\n'])
def test_a_run_without_metrics_is_refused_in_a_sentence(
    report: Any, run_dir: Path, text: str
) -> None:
    (run_dir / "metrics.jsonl").write_text(text, "utf-8")
    errors = importlib.import_module("generated_for_report.errors")
    with pytest.raises(errors.UserError, match="holds no metrics"):
        report.write_report(run_dir)
    with pytest.raises(errors.UserError, match="cannot be read"):
        report.write_report(run_dir / "none")


def test_the_confusion_matrix_shows_counts_recall_and_precision(report: Any, run_dir: Path) -> None:
    evaluation = {"eval_accuracy": 0.7, "confusion_matrix": [[3, 1], [2, 4]], "labels": ["a", "b"]}
    (run_dir / "evaluation.json").write_text(json.dumps(evaluation), "utf-8")
    page = read(report.write_report(run_dir))
    titles = [a["title"] for _, a in page.tags if "title" in a]
    assert titles[1] == "a predicted as b: 1 of 4 (25.0%)"
    assert "75%" in page.text  # recall of a
    assert "60%" in page.text  # precision of a
    assert "70.0%" in page.text  # evaluation.json wins over the last logged accuracy


def test_many_classes_become_a_list_of_the_largest_errors(report: Any, run_dir: Path) -> None:
    n = 40
    matrix = [[10 if i == j else 0 for j in range(n)] for i in range(n)]
    matrix[3][7] = 99
    evaluation = {"confusion_matrix": matrix, "labels": [f"class{i}" for i in range(n)]}
    (run_dir / "evaluation.json").write_text(json.dumps(evaluation), "utf-8")
    assert "class3 → class7" in read(report.write_report(run_dir)).text


@pytest.mark.parametrize("matrix", [None, [], [[1]], [[1, 2], [3]], [[1, "x"], [0, 0]]])
def test_a_matrix_that_is_none_is_not_shown(report: Any, run_dir: Path, matrix: Any) -> None:
    evaluation = {"confusion_matrix": matrix, "labels": ["a", "b"]}
    (run_dir / "evaluation.json").write_text(json.dumps(evaluation), "utf-8")
    assert "Confusion" not in read(report.write_report(run_dir)).text


def test_the_configuration_is_listed_by_dotted_key(report: Any, run_dir: Path) -> None:
    text = (
        "model:\n  name_or_path: C:\\models\\a\n  lora:\n    r: 16\n    target_modules:\n"
        "    - q_proj\n    - v_proj\ntracking:\n  trackers: []\n"
    )
    (run_dir / "config.yaml").write_text(text, "utf-8")
    assert report._read_config(run_dir / "config.yaml") == [
        ("model.name_or_path", "C:\\models\\a"),
        ("model.lora.r", "16"),
        ("model.lora.target_modules", "q_proj, v_proj"),
        ("tracking.trackers", "[]"),
    ]


def test_a_long_run_is_thinned_and_keeps_its_spikes(report: Any, run_dir: Path) -> None:
    lines = [{"step": s, "loss": 100.0 if s == 33333 else 1.0} for s in range(50_000)]
    write_metrics(run_dir, lines)
    path = report.write_report(run_dir)
    assert path.stat().st_size < 200_000
    assert "100.0" in path.read_text("utf-8")


def test_axis_labels_tell_neighbours_apart(report: Any) -> None:
    charts = importlib.import_module("generated_for_report.charts")
    for low, high in [(0, 1), (1.234, 1.235), (0, 2e-5), (-3, 5), (1e7, 3e7), (5, 5), (0, 0)]:
        values = charts.ticks(low, high)
        labels = charts.tick_labels(values)
        assert values[0] <= low <= high <= values[-1]
        assert len(set(labels)) == len(labels) >= 3, labels
    assert charts.ticks(3, 3, inside=True) == [3]
    assert charts.ticks(1, 3, inside=True) == [1, 2, 3]
