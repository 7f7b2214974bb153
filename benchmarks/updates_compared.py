"""The same edits and updates in projects of this template and of others; print Markdown tables.

python benchmarks/updates_compared.py --other copier-uv=FOLDER
    --other scientific-python/cookie=FOLDER > benchmarks/results/updates-compared.md

FOLDER is a clone of the other template with its tags. Each template: projects of three released
versions, edited as any Python project can be, updated to the newest version, and held against the
merge which tests/merging.py makes of the version that the project came from, the user's files and
the newest version. Then what a user meets where an update cannot work. Ours is updated by its
`make update`, the others by `copier update`, as their documents say. What the other templates need
besides Copier is in requirements-dev.in.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

import python_projects  # noqa: E402
from python_projects import EDITS, LICENCES, STOPS  # noqa: E402

import edits  # noqa: E402
import helpers  # noqa: E402
import merging  # noqa: E402
import releases  # noqa: E402
import updating  # noqa: E402

ANSWERS: dict[str, dict[str, Any]] = {
    "ours": {
        **helpers.ANSWERS,
        **{"task": "text_classification", "base_model": "scratch", "strategy": "full"},
        **{"package_name": "ticket_router", "license": "Apache-2.0"},
    },
    "copier-uv": {
        **{"project_name": "Ticket router", "project_description": "Routes tickets."},
        **{"author_fullname": "Ada Lovelace", "author_email": "ada@example.org"},
        **{"author_username": "ada", "python_package_import_name": "ticket_router"},
    },
    "scientific-python/cookie": {
        **{"project_name": "ticket-router", "org": "ada", "full_name": "Ada Lovelace"},
        **{"email": "ada@example.org", "license": "BSD", "backend": "hatch", "docs": "sphinx"},
        **{"url": "https://github.com/ada/ticket-router", "vcs": True},
    },
}
# Questions of a newest version without a default, to which a person would answer.
NEW_ANSWERS = {"scientific-python/cookie": {"docs": "sphinx"}}
VERSIONS = {
    "ours": ("0.1.0", "0.2.0", "0.4.0"),
    "copier-uv": ("1.8.0", "1.10.0", "1.12.0"),
    "scientific-python/cookie": ("2024.08.19", "2025.05.02", "2026.03.02"),
}


# ── Templates ──


@dataclass
class Template:
    """A template with its releases, and the projects that it made."""

    name: str
    repository: Path
    folder: Path

    @cached_property
    def newest(self) -> str:
        """The last of its versions."""
        tags = ["git", "tag", "--sort=v:refname"]
        return subprocess.check_output(tags, cwd=self.repository, text=True).split()[-1]

    def made(self, version: str, answers: dict[str, Any]) -> Path:
        """Return a project of a version, rendered once; not to be changed."""
        key = json.dumps([version, answers], sort_keys=True)
        folder = self.folder / hashlib.sha256(key.encode()).hexdigest()[:16]
        if not folder.exists():
            command = [*COPIER, "copy", *ALWAYS, "--vcs-ref", version, *data(answers)]
            done = run([*command, str(self.repository), str(folder)], self.folder)
            if done.returncode:
                raise RuntimeError(done.stderr[-3000:])
        return folder

    def project(self, version: str, folder: Path, edit: edits.Edit) -> Path:
        """Make a project, committed, edited, committed again."""
        shutil.copytree(self.made(version, ANSWERS[self.name]), folder, symlinks=True)
        helpers.commit_all(folder, "made from the template")
        edit(folder)
        edits.commit(folder, "ours")
        return folder

    def command(self, **answers: Any) -> list[str]:
        """Return how the template's documents say that a project is updated."""
        if self.name == "ours":
            return updating.update_command(*data(answers))
        return [*COPIER, "update", *ALWAYS, *data({**NEW_ANSWERS.get(self.name, {}), **answers})]


COPIER = [sys.executable, "-m", "copier"]
ALWAYS = ["--trust", "--defaults"]
ENVIRONMENT = {"ML_TEMPLATE_HOOKS": "off", "COPIER": " ".join(COPIER)}
MOMENTS = 10


def data(answers: dict[str, Any]) -> list[str]:
    """Return answers as arguments of Copier."""
    return [f"--data={key}={value}" for key, value in answers.items()]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run to the end, without our hooks' installation."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=300,
    )


# ── Updates ──


@dataclass(frozen=True)
class Played:
    """One update: how it ended, and the files that are not what the merge says."""

    failed: str
    wrong: tuple[str, ...]
    conflicts: tuple[str, ...]
    unnamed: tuple[str, ...]
    """Files with conflicts, or whose edits went with the file, that the output does not name."""
    seconds: float


def play(template: Template, version: str, edit: str, folder: Path) -> Played:
    """Make, edit and update one project; compare it with the merge."""
    project = template.project(
        version, folder / "project", EDITS.get(edit, python_projects.own_files)
    )
    stored = updating.answers_of(project)
    licence = {key: "MIT" for key in LICENCES if key in stored and edit == OTHER_ANSWER}
    base = helpers.contents(template.made(version, updating.given(stored)))
    ours, kinds = helpers.contents(project), updating.kinds(project)
    started = time.perf_counter()
    done = run(template.command(**licence), project)
    seconds = time.perf_counter() - started
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return Played(last, (), (), (), seconds)
    after = updating.given(updating.answers_of(project))
    theirs = template.made(template.newest, after)
    expected = merging.merge(base, ours, helpers.contents(theirs), updating.ANSWERS_FILE)
    found = helpers.contents(project)
    wrong = [*updating.differences(found, expected.files)]
    wrong += [
        f"{name} is a {kind}, no {kinds[name]}"
        for name, kind in updating.kinds(project).items()
        if name in found and kinds.get(name, kind) != kind and ours.get(name) == found[name]
    ]
    said = done.stdout + done.stderr
    losses = (*expected.conflicts, *expected.removed_with_edits, *expected.kept)
    unnamed = tuple(name for name in losses if f" {name}\n" not in said)
    return Played("", tuple(wrong), expected.conflicts, unnamed, seconds)


OTHER_ANSWER = "other licence"


def compare(templates: list[Template]) -> None:
    """Print a table of the edits, and what was wrong."""
    print("## Updates to the newest version\n")
    print(
        "| what users did | template | updates | as the merge | with files other than that "
        "| failed | files with conflicts | lost or in conflict, not named |\n"
        "|---|---|---:|---:|---:|---:|---:|---:|",
        flush=True,
    )
    remarks: list[str] = []
    totals: dict[str, list[Played]] = collections.defaultdict(list)
    for edit in (*EDITS, OTHER_ANSWER):
        what = (
            " ".join((EDITS[edit].__doc__ or "").split()) if edit in EDITS else "Another licence."
        )
        for template in templates:
            played = []
            for version in VERSIONS[template.name]:
                with tempfile.TemporaryDirectory() as folder:
                    one = play(template, version, edit, Path(folder))
                played.append(one)
                if one.failed or one.wrong:
                    more = f" and {len(one.wrong) - 4} more" if len(one.wrong) > 4 else ""
                    said = one.failed or "; ".join(one.wrong[:4]) + more
                    remarks.append(f"- {template.name} {version}, {edit}: {said[:400]}")
            totals[template.name] += played
            print(row(what, template.name, played), flush=True)
    for name, played in totals.items():
        print(row("all", name, played))
    print("\nWhat was other than the merge, and what failed:\n")
    print("\n".join(remarks) or "nothing")


def row(what: str, name: str, played: list[Played]) -> str:
    """Return a line of the table."""
    right = sum(not one.failed and not one.wrong for one in played)
    cells = (
        *(what, name, len(played), right, sum(bool(one.wrong) for one in played)),
        *(sum(bool(one.failed) for one in played), sum(len(one.conflicts) for one in played)),
        sum(len(one.unnamed) for one in played),
    )
    return "| " + " | ".join(map(str, cells)) + " |"


# ── What stops an update ──


def stopped(templates: list[Template]) -> None:
    """Print what a user sees where an update cannot work, and what is left of the project."""
    print("\n## What stops an update\n")
    print("| what | template | exit code | said | the project |\n|---|---|---:|---|---|")
    for stop in STOPS:
        for template in templates:
            version = VERSIONS[template.name][-1]
            with tempfile.TemporaryDirectory() as folder:
                project = template.project(version, Path(folder) / "project", edits.nothing)
                stop(project, template.repository)
                before = everything_in(project)
                done = run(template.command(), project)
                left = "as it was" if everything_in(project) == before else "changed"
            what = " ".join((stop.__doc__ or "").split())
            said = spoken(done.stderr, folder, template)
            print(f"| {what} | {template.name} | {done.returncode} | {said} | {left} |", flush=True)


def interrupted(templates: list[Template]) -> None:
    """Print what Ctrl-C leaves of a project, at moments spread over the time of an update."""
    print(f"\n## Ctrl-C at {MOMENTS} moments, evenly over the time an update takes\n")
    print("| template | as it was | updated | something between |\n|---|---:|---:|---:|")
    for template in templates:
        counts: collections.Counter[str] = collections.Counter()
        version = VERSIONS[template.name][-1]
        with tempfile.TemporaryDirectory() as folder:
            whole = template.project(version, Path(folder) / "whole", edits.nothing)
            before, started = everything_in(whole), time.perf_counter()
            run(template.command(), whole)
            seconds, updated = time.perf_counter() - started, helpers.contents(whole)
            for moment in range(MOMENTS):
                project = template.project(version, Path(folder) / str(moment), edits.nothing)
                process = subprocess.Popen(
                    template.command(),
                    cwd=project,
                    env={**os.environ, **ENVIRONMENT},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
                time.sleep(seconds * (moment + 0.5) / MOMENTS)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGINT)
                process.wait(60)
                if everything_in(project) == before:
                    counts["as it was"] += 1
                else:
                    is_whole = helpers.contents(project) == updated
                    counts["updated" if is_whole else "something between"] += 1
        cells = " | ".join(
            str(counts[each]) for each in ("as it was", "updated", "something between")
        )
        print(f"| {template.name} | {cells} |", flush=True)


def everything_in(project: Path) -> dict[str, object]:
    """Return what could be lost: files, what they are, and git's view of them."""
    status = helpers.git(project, "status", "--porcelain") if (project / ".git").exists() else ""
    return {**helpers.contents(project), "kinds": updating.kinds(project), "status": status}


def spoken(text: str, folder: str, template: Template) -> str:
    """Return "a traceback", if it is one, and the sentence at the end."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    kind = "a traceback: " if any(line.startswith("Traceback") for line in lines) else ""
    # after the reason ours says that the project is as it was
    told = [line for line in lines if "as said above" not in line and "is as it was" not in line]
    said = kind + (told[-1] if told else "")
    for path, name in ((folder, "FOLDER"), (str(template.repository), "TEMPLATE")):
        said = said.replace(path, name)
    return said.replace("|", "\\|")[:300]


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--other", action="append", default=[], metavar="NAME=FOLDER")
    options = parser.parse_args()
    # a shell lets what it starts in the background ignore Ctrl-C, and that would be inherited
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        templates = []
        for given in ("ours", *options.other):
            name, _, source = given.partition("=")
            repository, rendered = Path(folder, name, "template"), Path(folder, name, "rendered")
            rendered.mkdir(parents=True)
            if name == "ours":
                releases.repository(repository)
            else:
                helpers.git(rendered, "clone", "--quiet", source, str(repository))
            templates.append(Template(name, repository, rendered))
        names = " ".join(f"--other {one.name}=FOLDER" for one in templates[1:])
        print(f"# Updates of three templates, {datetime.date.today()}\n")
        copier, python = metadata.version("copier"), sys.version.split()[0]
        print(f"`python benchmarks/updates_compared.py {names}`, Copier {copier}, Python {python}.")
        for one in templates:
            print(f"{one.name}: {', '.join(VERSIONS[one.name])} to {one.newest}.")
        print(
            "Ours is the working tree. A merge is `git merge-file` of the old rendering, the user's"
            " file and the new rendering; every file must have\nits bytes. The last column counts "
            "files with conflicts, or gone with the user's edits in them, that the update's output"
            " does not name.\n"
        )
        compare(templates)
        stopped(templates)
        interrupted(templates)


if __name__ == "__main__":
    main()
