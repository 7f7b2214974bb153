"""Build the documentation site from docs/ into dist/site/.

python tools/docs.py [--serve]

Pages are docs/*.md and docs/decisions/*.md. A line `<!-- generated: NAME -->`, with the one below
that GitHub shows instead, becomes what `generators` make of copier.yml, the rules, the tests and
the template, so nothing stands twice.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bootstrap
import docs_advisor
import docs_example
import docs_questions

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
DIST = ROOT / "dist"
STAGED = DIST / "docs"
SITE = DIST / "site"
REPOSITORY = bootstrap.SOURCE.replace("gh:", "https://github.com/", 1)

# In the order of reading. A page that stands in no section comes last, so none can be forgotten.
SECTIONS = {
    "Start": ("index", "tour", "example"),
    "Choose": ("questions", "advisor"),
    "Keep": ("updating", "organisations", "security"),
    "Change the template": ("overlays", "health"),
}
MARK = re.compile(r"^<!-- generated: (\w+) -->\n\*.+\*$", re.MULTILINE)
_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")


def main(arguments: list[str] | None = None) -> int:
    """Write the pages and build the site; 0 when no link is broken."""
    parser = argparse.ArgumentParser(description="Build the documentation site into dist/site/.")
    parser.add_argument("--serve", action="store_true", help="show it at http://localhost:8000")
    options = parser.parse_args(arguments)
    stage()
    zensical = [sys.executable, "-m", "zensical", "serve" if options.serve else "build"]
    zensical += [] if options.serve else ["--clean", "--strict"]
    status = subprocess.run(zensical, cwd=DIST, check=False).returncode
    if status == 0 and not options.serve:
        print(f"the site is in {SITE.relative_to(ROOT)}: {len(list(SITE.rglob('*.html')))} pages")
    return status


def stage() -> None:
    """Write the pages, generated parts included, to dist/docs/, and the settings beside it."""
    shutil.rmtree(STAGED, ignore_errors=True)
    shutil.rmtree(SITE, ignore_errors=True)
    sources = sorted([*DOCS.glob("*.md"), *DOCS.glob("decisions/*.md")])
    with docs_example.rendered() as example:
        generated = generators(example)
        for source in sources:
            target = STAGED / source.relative_to(DOCS)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = MARK.sub(lambda mark: generated[mark[1]](), source.read_text("utf-8"))
            target.write_text(linked(text, source), "utf-8")
        docs_example.archive(example, STAGED / f"{docs_example.NAME}.zip")
    shutil.copytree(DOCS / "assets", STAGED / "assets")
    settings = (DOCS / "zensical.toml").read_text("utf-8")
    navigation = json.dumps(nav(sources), ensure_ascii=False)
    # lists of strings and of one-key tables are written alike in JSON and TOML, but for the colon
    navigation = re.sub(r'("(?:[^"\\]|\\.)*"): ', r"\1 = ", navigation)
    (DIST / "zensical.toml").write_text(
        settings.replace("[project]\n", f"[project]\nnav = {navigation}\n", 1), "utf-8"
    )


def generators(example: Path) -> dict[str, Callable[[], str]]:
    """Return what makes each generated part."""
    return {
        "questions": docs_questions.pages,
        "by_task": docs_advisor.by_task,
        "by_model": docs_advisor.by_model,
        "by_budget": docs_advisor.by_budget,
        "refusals": docs_advisor.refusals,
        "rules": docs_advisor.rules,
        "gpus": docs_advisor.gpus,
        "recommended": docs_advisor.recommended,
        "example": lambda: docs_example.page(example),
        "numbers": numbers,
    }


def numbers() -> str:
    """Return what the answer matrix of the tests covers."""
    command = [sys.executable, "tests/combinations.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return "\n\n".join(done.stdout.splitlines())


def nav(sources: list[Path]) -> list[dict[str, list[str]]]:
    """Return the sections of the site with their pages."""
    there = [source.relative_to(DOCS).as_posix() for source in sources]
    sections = {
        heading: [f"{name}.md" for name in names if f"{name}.md" in there]
        for heading, names in SECTIONS.items()
    }
    decisions = [name for name in there if name.startswith("decisions/")]
    named = {name for names in sections.values() for name in names} | set(decisions)
    sections["More"] = [name for name in there if name not in named]
    sections["Decisions"] = decisions
    return [{heading: names} for heading, names in sections.items() if names]


def linked(text: str, source: Path) -> str:
    """Return a page whose links to files outside the site lead to the repository."""

    def lead(match: re.Match[str]) -> str:
        link = match[1]
        if "://" in link or link.startswith(("#", "mailto:")):
            return link
        path, hash_mark, anchor = link.partition("#")
        target = (source.parent / path).resolve()
        inside = target.is_relative_to(DOCS) and target.suffix == ".md"
        if inside or not target.is_relative_to(ROOT) or not target.exists():
            return link  # a broken one is for the strict build to report
        kind = "tree" if target.is_dir() else "blob"
        place = target.relative_to(ROOT).as_posix()
        return f"{REPOSITORY}/{kind}/main/{place}{hash_mark}{anchor}"

    return _LINK.sub(lead, text)


if __name__ == "__main__":
    sys.exit(main())
