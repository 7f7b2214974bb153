"""Updates of released versions, and what they must come to: the rules of a three-way merge."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from packaging.version import Version

import edits
import helpers
import merging
import releases

ANSWERS_FILE = ".copier-answers.yml"
# The first version that has a set's choices, and the answers; each is refused before that.
ANSWER_SETS: dict[str, tuple[str, dict[str, Any]]] = {
    "llm": ("0.1.0", {"task": "llm", "base_model": "scratch", "strategy": "full"}),
    "llm-lora-venv": (
        "0.1.0",
        {"task": "llm", "base_model": "./base", "strategy": "lora", "environment": "venv"},
    ),
    "text": (
        "0.1.0",
        {"task": "text_classification", "base_model": "scratch", "strategy": "full"},
    ),
    "text-unserved-gitlab": (
        "0.1.0",
        {
            **{"task": "text_classification", "base_model": "scratch", "strategy": "full"},
            **{"serving": [], "ci": "gitlab", "environment": "conda", "license": "MIT"},
        },
    ),
    "llm-confidential": (
        "0.1.0",
        {
            **{"task": "llm", "base_model": "scratch", "strategy": "full"},
            **{"sensitive_data": True, "ci": "none", "license": "proprietary"},
        },
    ),
    "images": (
        "0.2.0",
        {"task": "image_classification", "base_model": "scratch", "strategy": "full"},
    ),
    "recordings-lora": (
        "0.2.0",
        {"task": "audio_classification", "base_model": "./base", "strategy": "lora"},
    ),
    "multimodal": ("0.2.0", {"task": "multimodal", "base_model": "scratch", "strategy": "full"}),
    "llm-qlora-ddp": (
        "0.2.0",
        {
            **{"task": "llm", "base_model": "./base", "strategy": "qlora", "gpu": "H100"},
            **{"gpu_count": 2, "parallelism": "ddp"},
        },
    ),
    "text-tracked": (
        "0.3.0",
        {
            **{"task": "text_classification", "base_model": "scratch", "strategy": "full"},
            **{"tracking": ["wandb", "mlflow"]},
        },
    ),
    "text-onnx-endpoints": (
        "0.4.0",
        {
            **{"task": "text_classification", "base_model": "scratch", "strategy": "full"},
            **{"serving": ["fastapi", "hf_endpoints", "onnx"]},
        },
    ),
}
# Answers given anew in the update.
CHANGES: dict[str, dict[str, Any]] = {
    "none": {},
    "task": {"task": "image_classification", "serving": ["fastapi"]},
    "strategy": {"strategy": "lora", "base_model": "./base"},
    "no serving": {"serving": []},
    "more serving": {"serving": ["fastapi", "hf_endpoints"]},
    "tracking": {"tracking": ["mlflow"]},
    "ci": {"ci": "gitlab"},
    "environment": {"environment": "conda"},
    "licence": {"license": "BSD-3-Clause"},
}


@dataclass(frozen=True)
class Scenario:
    """A released version, answers, what the user did since, and answers changed in the update."""

    version: str
    answers: str
    edit: str
    change: str = "none"

    def __str__(self) -> str:
        return f"{self.version}-{self.answers}-{self.edit}-{self.change}".replace(" ", "_")


def matrix() -> list[Scenario]:
    """Return every edit of every set of answers in every version, and every change of answers."""
    found = []
    for version, (answers, (since, _)) in product(releases.released(), ANSWER_SETS.items()):
        if Version(version) < Version(since):
            continue
        found += [Scenario(version, answers, edit) for edit in edits.EDITS]
        found += [
            Scenario(version, answers, "own_files", change)
            for change in CHANGES
            if change != "none"
        ]
    return found


def sample() -> list[Scenario]:
    """Return every edit twice, in turns with versions, sets of answers and changed answers.

    Every version, set and change is there too, which a test checks.
    """
    found = []
    versions = list(releases.released())
    for place, (_, edit) in enumerate(product(range(2), edits.EDITS)):
        answers, change = (list(of)[place % len(of)] for of in (ANSWER_SETS, CHANGES))
        since = Version(ANSWER_SETS[answers][0])
        having = [version for version in versions if Version(version) >= since]
        # from the newest back in the second turn, so that a set meets other versions there
        at = place if place < len(edits.EDITS) else -place
        found.append(Scenario(having[at % len(having)], answers, edit, change))
    return found


@dataclass(frozen=True)
class Outcome:
    """What an update came to."""

    seconds: float
    expected: merging.Expected
    wrong: tuple[str, ...]
    """Differences from the merge that should have been: none, or the update is broken."""


@dataclass
class Workshop:
    """Projects of a repository from releases.repository(), each rendered once."""

    folder: Path
    template: Path
    _rendered: dict[str, Path] = field(default_factory=dict)

    def rendered(self, version: str, answers: dict[str, Any]) -> Path:
        """Return a project as it is made; not to be changed."""
        text = json.dumps([version, answers], sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        if key not in self._rendered:
            project = self.folder / f"{version}-{key}"
            helpers.copy_project(project, template=self.template, ref=version, **answers)
            self._rendered[key] = project
        return self._rendered[key]

    def project(self, scenario: Scenario, folder: Path) -> Path:
        """Make a project of that version with the user's edits, all committed."""
        base = self.rendered(scenario.version, ANSWER_SETS[scenario.answers][1])
        shutil.copytree(base, folder)
        helpers.commit_all(folder, "made from the template")
        edits.EDITS[scenario.edit](folder)
        edits.commit(folder, "ours")
        return folder

    def base(self, project: Path) -> Path:
        """Return what the template made of a project's answers, its version as it was."""
        stored = answers_of(project)
        return self.rendered(stored["_commit"], given(stored))


def play(workshop: Workshop, scenario: Scenario, folder: Path, *, command: bool = False) -> Outcome:
    """Make the project, update it to the newest version, and compare with the merge.

    `command`: as `make update` does, and what it says must name what it left to the user.
    """
    project = workshop.project(scenario, folder / "project")
    base, ours, before = workshop.base(project), helpers.contents(project), answers_of(project)
    changes, our_kinds = CHANGES[scenario.change], kinds(project)
    started = time.perf_counter()
    if command:
        done = run_command(project, changes)
    else:
        helpers.update_project(project, **changes)
    seconds = time.perf_counter() - started

    after = answers_of(project)
    theirs = workshop.rendered(releases.newest(), given(after))
    expected_kinds = {**kinds(theirs), **changed(kinds(base), our_kinds)}
    ours, theirs = carried(base, ours, theirs, folder / "theirs")
    expected = merging.merge(helpers.contents(base), ours, helpers.contents(theirs), ANSWERS_FILE)
    wrong = [
        f"{key} was {before[key]!r} and became {after.get(key)!r}"
        for key in given(before)
        if after.get(key) != changes.get(key, before[key])
    ]
    wrong += differences(helpers.contents(project), expected.files)
    wrong += [
        f"{name} is a {kind}, not a {expected_kinds[name]}"
        for name, kind in kinds(project).items()
        if kind != expected_kinds.get(name, kind)
    ]
    if command:
        wrong += unsaid(done, expected, scenario.edit == "moved_package")
    return Outcome(seconds, expected, tuple(wrong))


# The command of the newest version, for the project in the working folder, which may be too old to
# have one: the place of `scripts/update.py` is all that it is told.
UPDATE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv.pop(1))
import update
update.ROOT = Path.cwd()
sys.exit(update.main())
"""


def update_command(*arguments: str) -> list[str]:
    """Return the command line of `make update` in a project of any version."""
    scripts = helpers.ROOT / "template/scripts"
    return [sys.executable, "-c", UPDATE, str(scripts), "--defaults", *arguments]


def run_command(project: Path, changes: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run it without installing."""
    texts = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in changes.items()
    }
    answers = (f"--data={key}={text}" for key, text in texts.items())
    ours = {"ML_TEMPLATE_HOOKS": "off", "COPIER": f"{sys.executable} -m copier"}
    return subprocess.run(
        update_command(*answers),
        cwd=project,
        env={**os.environ, **ours},
        capture_output=True,
        text=True,
        check=False,
    )


def unsaid(
    done: subprocess.CompletedProcess[str], expected: merging.Expected, renamed: bool
) -> Iterator[str]:
    """Yield what an update did not say, or said though it was not so.

    Who gives the package another name edits files of the template for that, which is said where
    they go; the merge that is expected starts from files with that name.
    """
    said = done.stdout + done.stderr
    if done.returncode:
        yield f"the exit code is {done.returncode}: {said[-2000:]}"
    for sentence, names in (
        ("Both you and the template changed the same lines of:", expected.conflicts),
        ("The template has these files no more", expected.removed_with_edits),
        ("These are no UTF-8 text", expected.kept),
    ):
        if bool(names) != (sentence in said) and not (renamed and "no more" in sentence):
            yield f"says {sentence!r} where it is about {list(names)}"
        yield from (f"does not name {name}" for name in names if f"  {name}\n" not in said)
    if re.search(r"Traceback|^error:", said, re.MULTILINE):
        yield f"says {said[-2000:]}"


def answers_of(project: Path) -> dict[str, Any]:
    """Return the answers file's content."""
    stored = yaml.safe_load((project / ANSWERS_FILE).read_text("utf-8"))
    assert isinstance(stored, dict)
    return stored


def given(stored: dict[str, Any]) -> dict[str, Any]:
    """Return the answers to questions."""
    return {key: value for key, value in stored.items() if not key.startswith("_")}


def kinds(folder: Path) -> dict[str, str]:
    """Return what each of these files is besides its content."""
    found = {}
    for name in helpers.contents(folder):
        path = folder / name
        executable = "executable file" if path.stat().st_mode & 0o100 else "file"
        found[name] = f"link to {path.readlink()}" if path.is_symlink() else executable
    return found


def changed(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    """Return what has another value now, or is new."""
    return {name: value for name, value in after.items() if before.get(name) != value}


def carried(
    base: Path, ours: dict[str, bytes], theirs: Path, folder: Path
) -> tuple[dict[str, bytes], Path]:
    """Say in both sides what the migration of 0.4.0's renamed key says, in words of this test."""
    name = "configs/serve.yaml"
    limit = f"{edits.OLD_LIMIT}: {edits.OWN_LIMIT}".encode()
    served = limit in ours.get(name, b"") and (theirs / name).is_file()
    if not served or name not in helpers.contents(base):
        return ours, theirs
    shutil.copytree(theirs, folder)
    path = folder / name
    new = re.sub(r"(?m)^  max_waiting: \d+", f"  max_waiting: {edits.OWN_LIMIT}", path.read_text())
    path.write_text(new, "utf-8")
    return {**ours, name: ours[name].replace(limit, f"{edits.OLD_LIMIT}: 32".encode())}, folder


def differences(found: dict[str, bytes], expected: dict[str, bytes]) -> Iterator[str]:
    """Yield each file that is missing, unexpected or other than expected."""
    for name in sorted(found.keys() | expected.keys()):
        if name not in found:
            yield f"{name} is missing"
        elif name not in expected:
            yield f"{name} is there"
        elif found[name] != expected[name]:
            yield f"{name} differs"
