"""Try hostile answers on this template and on others; print counts as a Markdown table.

python benchmarks/hostile_input.py --other NAME@VERSION=FOLDER > benchmarks/results/hostile.md

For this template: as many sets of answers as --sets, other ones with another --seed, examined as
tests/hostile_checks.py has it. For every template, ours included: each text of the tests as the
project's name and, apart from it, as its description, made into a project by Copier with the
template's own defaults for all else; counted is what became of it.

FOLDER is a copy of another template without git, VERSION for the table alone. What it needs besides
Copier must be installed.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import yaml  # noqa: E402
from hypothesis import given, seed  # noqa: E402

import helpers  # noqa: E402
import hostile_answers  # noqa: E402
from answers_in_process import Questionnaire  # noqa: E402
from file_structure import parsed  # noqa: E402
from hostile_checks import Examination, hostile  # noqa: E402

# Answers without which a template asks; and the questions for the two texts.
OTHERS: dict[str, tuple[dict[str, str], str, str]] = {
    "ours": ({}, "project_name", "description"),
    "copier-uv": (
        {"project_name": "Sample", "project_description": "A sample", "author_username": "ada"},
        "project_name",
        "project_description",
    ),
    "scientific-python/cookie": (
        {
            **{"project_name": "sample", "org": "ada", "full_name": "Ada", "backend": "hatch"},
            **{"email": "ada@example.org", "license": "MIT", "docs": "sphinx", "vcs": "true"},
        },
        "project_name",
        "project_short_description",
    ),
}
OUTCOMES = (
    "refused in a sentence",
    "made; every file parses",
    "made; a file does not parse",
    "a traceback",
    "what was typed was run",
)
TRIED = "made, with a Makefile that was tried"


def main() -> None:
    """Examine, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of these sets")
    parser.add_argument("--every", type=int, default=1, help="take every n-th text only")
    parser.add_argument("--other", action="append", default=[], metavar="NAME@VERSION=FOLDER")
    options = parser.parse_args()
    print(f"# Hostile answers, {datetime.date.today()}\n")
    command = f"python benchmarks/hostile_input.py --sets {options.sets} --seed {options.seed}"
    others = "".join(f" --other {name.partition('=')[0]}=FOLDER" for name in options.other)
    print(f"`{command} --every {options.every}{others}`, Python {sys.version.split()[0]}.\n")
    if options.sets:
        examine(options.sets, options.seed)
    templates = {"ours": helpers.snapshot()}
    templates |= {
        name: Path(folder) for name, _, folder in (o.partition("=") for o in options.other)
    }
    compare(templates, options.every)


def examine(sets: int, number: int) -> None:
    """Examine sets of answers to our questions, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        examination = Examination(
            Questionnaire(helpers.snapshot(), Path(folder, "none", "project"))
        )
        faults = 0

        def count(answers: dict[str, Any]) -> None:
            nonlocal faults
            try:
                examination.of(answers)
            except Exception as error:  # whatever it is, it is one, and the others are tried too
                faults += 1
                print(f"{answers}\n{error!r}", file=sys.stderr)

        started = time.process_time()
        hostile(sets)(seed(number)(given(hostile_answers.answer_sets())(count)))()
    seconds = time.process_time() - started
    counts = examination.counts
    print("## All questions of this template\n")
    print("| | |\n|---|---|")
    for name in ("sets", "values refused", "values accepted", "files examined"):
        print(f"| {name} | {counts[name]:,} |")
    wrong = "refusals that were no sentence, broken files, changed answers, texts in what is run"
    print(f"| sets with a fault: {wrong} | {faults} |")
    print(f"| processor time | {seconds:.0f} s |\n")
    refused = ", ".join(f"{key} {number}" for key, number in examination.refused.most_common())
    print(f"Refused by question: {refused}.\n", flush=True)


def compare(templates: dict[str, Path], every: int) -> None:
    """Print what becomes of each text, in each template."""
    texts = hostile_answers.FRAGMENTS[::every]
    print(f"## {len(texts)} texts as the project's name, and as its description\n")
    print("| template | as | " + " | ".join((*OUTCOMES, TRIED)) + " |")
    print("|---|---|" + "---:|" * (len(OUTCOMES) + 1), flush=True)
    for name, template in templates.items():
        usual, title, description = OTHERS[name.partition("@")[0]]
        odd_anyway = frozenset(broken_with(template, usual))
        for key, what in ((title, "name"), (description, "description")):
            counts: collections.Counter[str] = collections.Counter()
            for text in texts:
                counts.update(outcome(template, {**usual, key: text}, odd_anyway))
            cells = " | ".join(str(counts[each]) for each in (*OUTCOMES, TRIED))
            print(f"| {name} | {what} | {cells} |", flush=True)
    print(
        "\nRun were Copier with the template's own tasks and, in the projects of the last column, "
        "`make --dry-run` for every command of the Makefile, which runs its `$(shell)` calls. "
        "Nothing else was: a 0 before it says no more than that."
    )


def broken_with(template: Path, answers: dict[str, str]) -> list[str]:
    """Return the files that do not parse with harmless answers either: JSON with comments."""
    with tempfile.TemporaryDirectory() as folder:
        done = copy(template, answers, Path(folder))
        assert done.returncode == 0, done.stderr
        return list(broken(Path(folder, "project")))


def copy(template: Path, answers: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Make `project` in a folder, as a person does with a file of answers."""
    data = folder / "answers.yml"
    data.write_text(yaml.safe_dump(answers, allow_unicode=False), "utf-8")
    command = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults", "--quiet"]
    return subprocess.run(
        [*command, "--data-file", str(data), str(template), str(folder / "project")],
        cwd=folder,
        env={**os.environ, "ML_TEMPLATE_HOOKS": "off"},
        capture_output=True,
        text=True,
        check=False,
    )


def outcome(template: Path, answers: dict[str, str], odd_anyway: frozenset[str]) -> Iterator[str]:
    """Make a project with these answers, use its Makefile, read its files; yield what to count."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "project")
        done = copy(template, answers, Path(folder))
        if not done.returncode and (project / "Makefile").is_file():
            yield TRIED
            text = (project / "Makefile").read_text("utf-8", errors="replace")
            for target in {"help", *re.findall(r"(?m)^([a-z][\w-]*):(?!=)", text)}:
                make = ["make", "--dry-run", target]
                subprocess.run(make, cwd=project, capture_output=True, check=False)
        if any(path.name == hostile_answers.CANARY for path in Path(folder).rglob("*")):
            yield OUTCOMES[4]
        elif done.returncode:
            yield OUTCOMES[3] if "Traceback" in done.stderr else OUTCOMES[0]
        else:
            yield OUTCOMES[2] if set(broken(project)) - odd_anyway else OUTCOMES[1]


def broken(project: Path) -> Iterator[str]:
    """Yield the files that do not parse."""
    for path in sorted(project.rglob("*")):
        suffixes = {".py", ".toml", ".json", ".yaml", ".yml", ".ipynb"}
        if path.is_file() and path.suffix in suffixes and path.name != "mkdocs.yml":
            try:
                parsed(path.name, path.read_text("utf-8"))
            except (ValueError, SyntaxError, AssertionError, yaml.YAMLError):
                yield path.relative_to(project).as_posix()


if __name__ == "__main__":
    main()
