"""The documentation site: built without a broken link, complete, and readable without a network."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import docs_advisor
import docs_example
import docs_questions
import pytest

import docs
import helpers
from browser import chromium, visit
from extensions.advice import Advice

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site of a copy of this repository."""
    copy = tmp_path_factory.mktemp("docs") / "ml-template"
    helpers.copy_working_tree(copy)
    done = build(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    return copy / "dist" / "site"


def build(repository: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/docs.py"]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)


def test_every_page_and_decision_is_in_the_site(site: Path) -> None:
    sources = [*docs.DOCS.glob("*.md"), *docs.DOCS.glob("decisions/*.md")]
    expected = {path.relative_to(docs.DOCS).with_suffix(".html").as_posix() for path in sources}
    built = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert expected == built - {"404.html"}
    start = (site / "index.html").read_text("utf-8")
    linked = set(re.findall(r'href="?(?:\./)?([\w/-]+\.html)', start))
    assert expected - linked <= {"index.html"}


def test_the_start_lists_every_page_in_the_order_of_the_site() -> None:
    """By hand, so that it is there on GitHub, too."""
    text = (docs.DOCS / "index.md").read_text("utf-8")
    listed: list[dict[str, list[str]]] = []
    for heading, title, name in re.findall(
        r"^(?:\*\*(.+)\*\*|- \[(.+)\]\(([\w-]+\.md)\): .+)$", text, re.MULTILINE
    ):
        if heading:
            listed.append({heading: []})
        else:
            listed[-1] = {key: [*names, name] for key, names in listed[-1].items()}
            assert (docs.DOCS / name).read_text("utf-8").startswith(f"# {title}\n"), name
    sources = [path for path in docs.DOCS.glob("*.md") if path.name != "index.md"]
    assert listed == docs.nav(sorted(sources))


def test_nothing_generated_is_left_to_make(site: Path) -> None:
    texts = [path.read_text("utf-8") for path in docs.DOCS.rglob("*.md")]
    # each with a line for those who read it on GitHub
    marks = [mark for text in texts for mark in docs.MARK.findall(text)]
    assert sorted(marks) == sorted(docs.generators(Path()))
    assert len(marks) == sum(text.count("\n<!-- generated: ") for text in texts)
    for path in site.rglob("*.html"):
        text = path.read_text("utf-8")
        assert "generated:" not in text and ">The site</a> " not in text, path.name


def test_a_broken_link_stops_the_build(site: Path, tmp_path: Path) -> None:
    copy = tmp_path / "ml-template"
    shutil.copytree(site.parents[1], copy)
    page = copy / "docs" / "health.md"
    page.write_text(
        page.read_text("utf-8") + "\n[nowhere](questions.md#no-such-question)\n", "utf-8"
    )
    done = build(copy)
    assert done.returncode != 0
    assert "anchor does not exist" in done.stdout + done.stderr


def test_links_out_of_the_site_lead_to_files_that_are_there(site: Path) -> None:
    pattern = re.compile(rf'href="{docs.REPOSITORY}/(?:blob|tree)/main/([^"#]+)')
    found = {link for path in site.rglob("*.html") for link in pattern.findall(path.read_text())}
    assert "copier.yml" in found and "extensions/rules/hardware.py" in found
    assert [link for link in found if not (helpers.ROOT / link).exists()] == []


def test_every_question_and_value_is_told() -> None:
    page = docs_questions.pages()
    assert re.findall(r"^### `(\w+)`$", page, re.MULTILINE) == list(helpers.questions())
    for key in helpers.questions():
        part = page.partition(f"### `{key}`\n")[2].partition("\n### ")[0]
        for value in helpers.offered(key) if key != "gpu" else []:
            assert f"| `{value}` |" in part, f"{key}: {value}"
        assert "Default: " in part, key
        assert "{{" not in part, key


def test_every_computed_default_says_from_what() -> None:
    computed = {
        key
        for key, spec in helpers.questions().items()
        if not re.search(r", ('[^']*'|\d+|true|false)\)", spec["default"])
    }
    assert computed == set(docs_questions.FOLLOWS_FROM)


def test_the_tables_are_what_the_rules_say() -> None:
    answers, told = docs_advisor.decided(task="llm", gpu="L4", gpu_count=1)
    page = docs_advisor.by_task()
    row = next(line for line in page.splitlines() if line.startswith("| L4 |"))
    assert answers["base_model"] in row and answers["strategy"] in row
    needed = re.search(r"about ([\d.]+) of", told.prediction)
    assert needed and needed[1] in row
    assert "?" not in docs_advisor.by_model()
    refused = docs_advisor.refusals().splitlines()[2:]
    assert refused and all(re.search(r"\| “.{20,}” \|$", row) for row in refused)


def test_what_is_told_as_refused_must_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Advice, "serving_problem", lambda *_: "")
    with pytest.raises(ValueError, match="ONNX for generated text"):
        docs_advisor.refusals()


def test_the_security_page_names_every_hook() -> None:
    page = (docs.DOCS / "security.md").read_text("utf-8")
    hooks = re.findall(r"hooks/\w+\.py", (helpers.ROOT / "copier.yml").read_text("utf-8"))
    assert len(hooks) >= 3 and [hook for hook in hooks if f"(../{hook})" not in page] == []


def test_the_readme_quotes_what_the_questions_say_and_what_was_measured() -> None:
    readme = (helpers.ROOT / "README.md").read_text("utf-8")
    quoted = " ".join(re.findall(r"^ +> (.+)$", readme, re.MULTILINE))
    answers, told = docs_advisor.decided(task="llm", gpu="L4", gpu_count=1)
    said = f"{answers['base_model']}: {told.told_of_base_model} {told.told_of_strategy}"
    said += f" {told.prediction}"
    sentences = re.split(r"(?<=\.) (?=[A-Z\d])", quoted)
    assert len(sentences) > 1
    assert [each for each in sentences if each not in " ".join(said.split())] == []
    link = re.search(
        r"off by ([\d.]+) % \(median; at most ([\d.]+) %\) in \[(\d+) public\s.+?\]\((.+?)\)",
        readme,
    )
    assert link
    table = (helpers.ROOT / link[4]).read_text("utf-8")
    row = re.search(
        r"^\| all \| (\d+) \| ([\d.]+) % \| -([\d.]+) % \| \+([\d.]+) % \|$", table, re.M
    )
    assert row and row[1] == link[3] and float(row[2]) == float(link[1])
    assert max(float(row[3]), float(row[4])) == float(link[2])
    times = re.search(r"BERT classifier's gradient is\s+(\d+) times", readme)
    compared = re.search(r"\((benchmarks/results/correctness-.+?)\)", readme)
    assert times and compared
    measured = (helpers.ROOT / compared[1]).read_text("utf-8")
    assert f"| BERT, sequence classification | 1.000 | ✗ {times[1]}.000 |" in measured


# ── The published example ────────────────────────────────────────────────────────────────────────


def test_the_published_example_is_what_the_template_makes() -> None:
    with docs_example.rendered() as project:
        made = docs_example.digests(project)
    published = docs_example.DIGESTS.read_text("utf-8")
    changed = {line.split("  ")[1] for line in set(made.splitlines()) ^ set(published.splitlines())}
    assert sorted(changed) == [], "run `make example` and look at git diff"


def test_the_packed_example_passes_its_own_digests(site: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(site / f"{docs_example.NAME}.zip") as packed:
        packed.extractall(tmp_path)
    check = ["sha256sum", "--check", "--quiet", str(site.parents[1] / "docs" / "example.sha256")]
    subprocess.run(check, cwd=tmp_path / docs_example.NAME, check=True)


# ── In a browser ─────────────────────────────────────────────────────────────────────────────────


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_pages_are_shown_without_asking_anybody_else(address: str) -> None:
    with chromium() as browser:
        for page in ("index", "advisor", "questions", "decisions/0001-overlays"):
            with visit(browser, f"{address}/{page}.html") as seen:
                seen.page.wait_for_load_state("networkidle")
                assert seen.origins == {address}
                assert seen.errors == []
                assert seen.page.locator("h1").is_visible()


def test_the_search_finds_a_question(address: str) -> None:
    with chromium() as browser, visit(browser, f"{address}/index.html") as seen:
        seen.page.keyboard.press("Control+k")
        seen.page.keyboard.type("sensitive_data")
        link = seen.page.locator("a[href*='questions.html']", has_text="Every question")
        link.last.wait_for()
        assert seen.origins == {address}
