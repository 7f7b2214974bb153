"""Update projects of every released version, as their users edited them, to the working tree.

python benchmarks/updates.py [--jobs 2] [--repeats 5] [--only text] [--every 3]
    [--suites ENV/bin/python]

Plays every scenario of tests/updating.py, counts how each ended, and measures an update of a
project with default answers. Writes results/updates-<date>.md. `--only`: scenarios whose name holds
a text; `--every 3`: a third of them. `--suites`: also runs all tests of an updated project for each
set of answers, in an environment that holds their packages.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path

from timing import Work, command, machine, table, take_turns

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import edits  # noqa: E402
import helpers  # noqa: E402
import releases  # noqa: E402
import updating  # noqa: E402

Played = list[tuple[updating.Scenario, updating.Outcome]]
OFF = {"ML_TEMPLATE_HOOKS": "off", "COPIER": f"{sys.executable} -m copier"}


def main() -> int:
    """Play, measure, write; return 1 where an update was not what it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5, help="of the timed update; 0: none")
    parser.add_argument("--only", default="", help="scenarios whose name holds this")
    parser.add_argument("--every", type=int, default=1, help="take one of so many")
    parser.add_argument("--suites", type=Path, help="python with the projects' packages")
    options = parser.parse_args()
    matching = [one for one in updating.matrix() if options.only in str(one)]
    scenarios = matching[:: options.every]
    call = " ".join(["python benchmarks/updates.py", *sys.argv[1:]])
    call = call.replace(str(options.suites), "ENV/bin/python")
    target = HERE / "results" / f"updates-{datetime.now(UTC):%Y-%m-%d}.md"
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        played, loads = play(scenarios, Path(folder), options.jobs)
        minutes = (time.monotonic() - started) / 60
        wrong = [(scenario, outcome) for scenario, outcome in played if outcome.wrong]
        report = [
            f"# Updates, {datetime.now(UTC):%Y-%m-%d}\n",
            f"`{call}`, on {machine()}; {minutes:.0f} minutes. {remark(loads, options.jobs)}\n",
            *summary(played),
            *conflicts(played),
            *(f"- WRONG {scenario}: {'; '.join(outcome.wrong)}" for scenario, outcome in wrong),
        ]
        target.write_text("\n".join(report), "utf-8")  # what took longest is kept
        if options.suites:
            report += suites(Path(folder), options.suites, options.jobs)
        if options.repeats:
            report.append(timing(Path(folder), options.repeats))
        target.write_text("\n".join(report), "utf-8")
    print(*report, sep="\n")
    print(f"written to {target.relative_to(ROOT)}", file=sys.stderr)
    return 1 if wrong else 0


def play(
    scenarios: Iterable[updating.Scenario], folder: Path, jobs: int
) -> tuple[Played, list[float]]:
    """Play all, those of one project together, so that it is rendered once.

    Return also the machine's load average after each project.
    """
    template = releases.repository(folder / "ml-template")
    groups = [
        list(group) for _, group in groupby(scenarios, lambda one: (one.version, one.answers))
    ]
    played: Played = []
    loads = []
    with ProcessPoolExecutor(jobs, max_tasks_per_child=1) as pool:
        for number, done in enumerate(pool.map(partial(play_group, template), groups), start=1):
            played += done
            loads.append(os.getloadavg()[0])
            print(f"  {number}/{len(groups)} projects", file=sys.stderr, flush=True)
    return played, loads


def remark(loads: Sequence[float], jobs: int) -> str:
    """Return what a reader must know about the seconds: a job loads the machine with about one."""
    busiest = max(loads, default=0.0)
    if busiest < jobs + 1:
        return ""
    return (
        f"Other work ran on the machine meanwhile (a load average of up to {busiest:.1f}), so the "
        "seconds are too long; the counts are not touched by that."
    )


def play_group(template: Path, scenarios: Sequence[updating.Scenario]) -> Played:
    """Play scenarios that begin with the same project."""
    played = []
    with tempfile.TemporaryDirectory() as folder:
        workshop = updating.Workshop(Path(folder) / "workshop", template)
        for scenario in scenarios:
            place = Path(folder) / "scenario"
            place.mkdir()
            played.append((scenario, updating.play(workshop, scenario, place)))
            shutil.rmtree(place)
    return played


def summary(played: Played) -> list[str]:
    """Return the table of edits and changed answers, and what is counted in it."""
    rows: dict[str, list[updating.Outcome]] = defaultdict(list)
    for scenario, outcome in played:
        changed = scenario.change != "none"
        rows[f"other answer: {scenario.change}" if changed else scenario.edit].append(outcome)
    right = sum(not outcome.wrong for _, outcome in played)
    apart = sum(bool(outcome.expected.apart) for _, outcome in played)
    lines = [
        f"**{len(played)} scenarios, {right} as they should be, {len(played) - right} not; {apart} "
        "with a conflict apart from the lines that both changed.** "
        "Each is a project of a released version, committed, edited, and updated to the working "
        "tree; every file of it must have the bytes of `git merge-file` on the old rendering, the "
        "user's file and the new rendering, and the kind (executable, a link) that the user or "
        "else the new version gave it. A removed file is one that the user had changed and the new "
        "version (or the new answer) has no more; a kept one is no UTF-8 text, and both changed "
        "it. The update names both.\n",
        "| what users did | scenarios | as they should be | without any conflict | files with "
        "conflicts, most | edited files removed, most | kept, most | seconds, median |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, outcomes in [*rows.items(), ("all", [outcome for _, outcome in played])]:
        what = " ".join((edits.EDITS[name].__doc__ or "").split()) if name in edits.EDITS else name
        lines.append(
            f"| {what} | {len(outcomes)} | {sum(not one.wrong for one in outcomes)} "
            f"| {sum(not one.expected.conflicts for one in outcomes)} "
            f"| {max(len(one.expected.conflicts) for one in outcomes)} "
            f"| {max(len(one.expected.removed_with_edits) for one in outcomes)} "
            f"| {max(len(one.expected.kept) for one in outcomes)} "
            f"| {statistics.median(one.seconds for one in outcomes):.1f} |"
        )
    return [*lines, ""]


def conflicts(played: Played) -> list[str]:
    """Return the table of the files with conflicts, and where those come from."""
    found: dict[str, list[tuple[updating.Scenario, updating.Outcome]]] = defaultdict(list)
    for scenario, outcome in played:
        for name in outcome.expected.conflicts:
            found[name].append((scenario, outcome))
    if not found:
        return []
    lines = [
        "## Conflicts\n",
        "Lines that touch: the user changed, or added, a line right beside one that the new "
        "version changed, which git does not merge either.\n",
        "| file | scenarios with a conflict | of them in lines that touch | of edit (version) |",
        "|---|---:|---:|---|",
    ]
    for name, where in sorted(found.items(), key=lambda item: -len(item[1])):
        touching = sum(name in outcome.expected.touching for _, outcome in where)
        causes = Counter(f"{one.edit} ({one.version})" for one, _ in where)
        shown = ", ".join(f"{cause}: {count}" for cause, count in causes.items())
        lines.append(f"| `{name}` | {len(where)} | {touching} | {shown} |")
    return [*lines, ""]


def suites(folder: Path, python: Path, jobs: int) -> list[str]:
    """Run all tests of a project of each set of answers, updated from the first version with it."""
    scenarios: dict[str, updating.Scenario] = {}
    for scenario in updating.matrix():
        if scenario.edit == "own_files" and scenario.change == "none":
            scenarios.setdefault(scenario.answers, scenario)
    run = partial(suite, folder / "ml-template", python.absolute())
    with ProcessPoolExecutor(jobs, max_tasks_per_child=1) as pool:
        said = list(pool.map(run, scenarios.values()))
    return [
        "## The updated projects' own tests\n",
        "All of them, with the user's modules and test added, after the update to the working "
        "tree.\n",
        "| answers | made from | pytest said |",
        "|---|---|---|",
        *(
            f"| {one.answers} | {one.version} | {last} |"
            for one, last in zip(scenarios.values(), said, strict=True)
        ),
        "",
    ]


def suite(template: Path, python: Path, scenario: updating.Scenario) -> str:
    """Update one project, run its tests, and return the last line without its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        workshop = updating.Workshop(Path(folder) / "workshop", template)
        outcome = updating.play(workshop, scenario, Path(folder))
        if outcome.wrong or outcome.expected.conflicts:
            return f"not run: {outcome}"
        done = subprocess.run(
            [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider"],
            cwd=Path(folder) / "project",
            env={**os.environ, "PYTHONPATH": "src", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    print(f"  {scenario}: {lines[-1]}", *failed, sep="\n    ", file=sys.stderr, flush=True)
    return re.sub(r" in \d.*", "", lines[-1].strip("= "))


def timing(folder: Path, repeats: int) -> str:
    """Time the update of a project with default answers from the last release; no installation."""
    template = folder / "ml-template"
    last = list(releases.released())[-1]
    made = helpers.copy_project(folder / "made", template=template, ref=last)
    helpers.commit_all(made, "made")
    project, target = folder / "timed", folder / "copied"
    copier = [sys.executable, "-m", "copier"]

    def fresh(arguments: Sequence[str | Path], cwd: Path) -> float:
        for path in (project, target):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(made, project)
        return command(arguments, cwd, OFF)()

    update: list[str | Path] = [*copier, "update", "--trust", "--defaults", "--quiet"]
    copy: list[str | Path] = [*copier, "copy", "--trust", "--defaults", "--quiet", template, target]
    called = calls(made, update, folder)
    clones = sum(call.startswith("clone ") for call in called)
    works: dict[str, Work] = {
        "copier update": partial(fresh, update, project),
        "make update": partial(fresh, updating.update_command(), project),
        "of it: starting Copier": command([sys.executable, "-c", "import copier.cli"], ROOT),
        "one copier copy, of which an update makes three": partial(fresh, copy, folder),
        f"one git clone of the template, of which it makes {clones}": partial(
            fresh, ["git", "clone", "--quiet", template, target], folder
        ),
    }
    files = len(subprocess.check_output(["git", "ls-files"], cwd=made).splitlines())
    modes = sum("core.fileMode" in call for call in called)
    note = (
        f"A project with default answers ({files} files), from {last} to the working tree, without "
        f"installing. One `copier update` starts git {len(called)} times, {modes} of them to ask "
        "about the mode of a file that Copier writes."
    )
    return table("The time of an update", take_turns(works, repeats), note)


def calls(made: Path, update: Sequence[str | Path], folder: Path) -> list[str]:
    """Return the arguments of each git of one update, by a git on PATH that writes them down."""
    programs, log = folder / "programs", folder / "calls.txt"
    programs.mkdir()
    (programs / "git").write_text(
        f'#!/bin/sh\necho "$@" >> {log}\nexec {shutil.which("git")} "$@"\n'
    )
    (programs / "git").chmod(0o755)
    project = folder / "counted"
    shutil.copytree(made, project)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    command(update, project, {**OFF, "PATH": path})()
    return log.read_text().splitlines()


if __name__ == "__main__":
    sys.exit(main())
