"""What users do to a project in a year: each function edits one, of any released version.

An edit that no longer finds its place fails: a scenario that changes nothing would test nothing.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import helpers

Edit = Callable[[Path], None]
OLD_LIMIT = "max_waiting_requests"
OWN_LIMIT = 77
"""What `limits.max_waiting_requests` of serve.yaml becomes; renamed in 0.4.0."""


def package(project: Path) -> Path:
    """Return the folder of the project's package."""
    (found,) = [path.parent for path in (project / "src").glob("*/__init__.py")]
    return found


def change(path: Path, pattern: str, new: str) -> None:
    """Replace the first match of a pattern, by lines."""
    text, count = re.subn(pattern, new, path.read_text("utf-8"), count=1, flags=re.MULTILINE)
    assert count, f"{path.name} no longer holds {pattern!r}: mend this edit"
    path.write_text(text, "utf-8")


def write(path: Path, text: str) -> None:
    """Write a file of the user's own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def nothing(project: Path) -> None:
    """The project as it was made."""


def own_files(project: Path) -> None:
    """Modules, scripts, tests, settings, a workflow and notes of their own."""
    name = package(project).name
    write(package(project) / "our_features.py", 'OURS = "ours"\n')
    write(package(project) / "extra" / "__init__.py", "")
    write(project / "scripts/our_report.py", f"from {name}.our_features import OURS\nprint(OURS)\n")
    write(
        project / "tests/test_our_features.py",
        f"from {name}.our_features import OURS\n\n\ndef test_ours() -> None:\n"
        '    assert OURS == "ours"\n',
    )
    write(project / "configs/nightly.yaml", "# ours\ntrain:\n  max_steps: 7  # short\n  seed: 11\n")
    write(project / ".github/workflows/nightly.yml", "name: nightly\non: workflow_dispatch\n")
    write(project / "notes from windows.txt", "first\r\nsecond\r\n")
    write(project / "docs/über uns.md", "# Über uns\n")
    (project / "docs/about us.md").symlink_to("über uns.md")


def task_code(project: Path) -> None:
    """The files which the README calls the user's: data, model, predictor, metrics."""
    with (package(project) / "data.py").open("a", encoding="utf-8") as data:
        data.write("\n\ndef our_cleaning(text: str) -> str:\n    return text.strip()\n")
    change(package(project) / "model.py", r'^"""(.*)$', r'"""Ours: \1')
    change(
        package(project) / "predictor.py", r"^class Predictor", "OURS = True\n\n\nclass Predictor"
    )
    with (package(project) / "metrics.py").open("a", encoding="utf-8") as metrics:
        metrics.write("\n\nOUR_METRICS = ()\n")


def trainer(project: Path) -> None:
    """A function of the training loop, which the template maintains."""
    training = package(project) / "training.py"
    change(training, r"^def train\(", "def our_hook() -> None:\n    print('ours')\n\n\ndef train(")
    change(training, r"^(def _device_name\(.*\n)", r"\1    our_hook()\n")
    change(package(project) / "checkpoints.py", r"^(def .*\n)", r"\1    # ours\n")


def deleted(project: Path) -> None:
    """Files that this user has no use for."""
    for name in ("notebooks/read_a_run.ipynb", "docs/costs.md", "scripts/report.py", "Dockerfile"):
        (project / name).unlink()
    shutil.rmtree(project / "data/sample")


def settings(project: Path) -> None:
    """Values of the configuration, a comment, and a limit of the service that 0.4.0 renames."""
    train = project / "configs/train.yaml"
    change(train, r"^  seed: 0", "  seed: 7")
    change(train, r"^  epochs: \d+", "  epochs: 9")
    change(train, r"^  keep_checkpoints: 2", "  keep_checkpoints: 5  # our disk is large")
    serve = project / "configs/serve.yaml"
    if serve.is_file():
        change(serve, r"^  port: 8000", "  port: 9000")
        if OLD_LIMIT in serve.read_text("utf-8"):
            change(serve, rf"^  {OLD_LIMIT}: 32", f"  {OLD_LIMIT}: {OWN_LIMIT}")


def dependency(project: Path) -> None:
    """A package of their own, pinned by hand in alphabetical order."""
    change(project / "pyproject.toml", r'^  "numpy>=', '  "networkx>=3.6,<4",\n  "numpy>=')
    change(project / "requirements.txt", r"^numpy==", "networkx==3.6.1  # this project\nnumpy==")


def moved_package(project: Path) -> None:
    """Another name for the package, as docs/updating.md says."""
    old, new = package(project), package(project).with_name("moved_router")
    name = old.name
    shutil.move(old, new)
    for path in project.rglob("*"):
        if path.is_file() and ".git" not in path.relative_to(project).parts:
            text = path.read_bytes()
            # what the template derives from the project's title stays
            text = re.sub(rb"\b" + name.encode() + rb"\b", b"moved_router", text)
            path.write_bytes(text.replace(name.upper().encode(), b"MOVED_ROUTER"))


def surroundings(project: Path) -> None:
    """README, Makefile, .gitignore, Dockerfile and .env.example; a script that can be executed."""
    change(
        project / "README.md",
        r"^## Troubleshooting",
        "## Our team\n\nFloor three.\n\n## Troubleshooting",
    )
    with (project / "Makefile").open("a", encoding="utf-8") as makefile:
        makefile.write("\nours: ## our own command\n\t@echo ours\n")
    with (project / ".gitignore").open("a", encoding="utf-8") as ignored:
        ignored.write("/our-notes/\n")
    change(project / "Dockerfile", r"^WORKDIR /app\n", "WORKDIR /app\nENV OURS=1\n")
    change(project / ".env.example", r"\A", "# OUR_URL=\n")
    (project / "scripts/train.py").chmod(0o755)


def sample_data(project: Path) -> None:
    """Sample data replaced by other images and tables, and texts saved in other encodings."""
    sample = project / "data/sample"
    for suffix in (".png", ".flac", ".parquet"):
        for path in sorted(sample.rglob(f"*{suffix}"))[:1]:
            path.write_bytes(path.read_bytes()[::-1])
    for path in (*sample.glob("train.csv"), *sample.glob("train.jsonl")):
        path.write_bytes(path.read_text("utf-8").encode("utf-16"))
    for path in (project / "data/README.md", sample / "README.md"):
        with path.open("ab") as file:
            file.write("\nNotre café.\n".encode("latin-1"))


def windows_lines(project: Path) -> None:
    """A page of ours saved with Windows' line ends."""
    path = project / "docs/security.md"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def everything(project: Path) -> None:
    """A year of it."""
    for edit in (own_files, task_code, trainer, settings, dependency, surroundings):
        edit(project)
    (project / "notebooks/read_a_run.ipynb").unlink()


EDITS: dict[str, Edit] = {
    edit.__name__: edit
    for edit in (
        *(nothing, own_files, task_code, trainer, deleted, settings, dependency, moved_package),
        *(surroundings, sample_data, windows_lines, everything),
    )
}


def commit(project: Path, message: str) -> None:
    """Commit all, also where a file of the user's has Windows' line ends."""
    helpers.git(project, "config", "core.safecrlf", "false")
    helpers.commit_all(project, message)
