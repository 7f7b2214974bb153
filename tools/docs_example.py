"""The published example: one generated project, whose files' digests stand in docs/example.sha256.

python tools/docs_example.py    renders it again and writes the digests; git diff shows what changed
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIGESTS = ROOT / "docs" / "example.sha256"
NAME = "ticket-router"
ANSWERS = {
    "project_name": "Ticket router",
    "author_name": "Ada Lovelace",
    "author_email": "ada@example.org",
    "task": "text_classification",
    "gpu": "none",
    "copyright_year": "2026",
}
# What a person looks at first.
SHOWN = (
    "configs/train.yaml",
    "src/ticket_router/model.py",
    "src/ticket_router/training.py",
    "src/ticket_router/predictor.py",
    "scripts/train.py",
)
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml"}
# It says where the template is, which differs from clone to clone.
NOT_COMPARED = ".copier-answers.yml"


@contextmanager
def rendered() -> Iterator[Path]:
    """Render the example from the files as they are here, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="ml-template-example-") as folder:
        project = Path(folder) / NAME
        command = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults", "--quiet"]
        # the newest tag would be taken otherwise
        command += ["--skip-tasks", "--vcs-ref", "HEAD"] if (ROOT / ".git").exists() else []
        command += [f"--data={key}={value}" for key, value in ANSWERS.items()]
        environment = {**os.environ, "ML_TEMPLATE_HOOKS": "off"}
        done = subprocess.run(
            [*command, str(ROOT), str(project)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the example could not be rendered: {done.stderr[-2000:]}")
        yield project


def files(project: Path) -> list[Path]:
    """Return the example's files, in order."""
    return sorted(path for path in project.rglob("*") if path.is_file())


def digests(project: Path) -> str:
    """Return a line a file, as `sha256sum` writes and checks them."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(project).as_posix()}\n"
        for path in files(project)
        if path.name != NOT_COMPARED
    ]
    return "".join(lines)


def page(project: Path) -> str:
    """Return its tree, and the files to look at first."""
    paths = files(project)
    parts = [f"```text\n{NAME + '/':<45} lines\n{tree(project, paths)}```"]
    for name in SHOWN:
        path = project / name
        parts.append(f"## {name}")
        parts.append(f"```{LANGUAGES[path.suffix]}\n{path.read_text('utf-8').rstrip()}\n```")
    return "\n\n".join(parts)


def tree(project: Path, paths: list[Path]) -> str:
    """Return the files below their folders, each with its number of lines."""
    lines: list[str] = []
    seen: set[Path] = set()
    for path in paths:
        relative = path.relative_to(project)
        for folder in reversed(relative.parents[:-1]):
            if folder not in seen:
                seen.add(folder)
                lines.append(f"{'  ' * len(folder.parts)}{folder.name}/")
        name = f"{'  ' * len(relative.parts)}{relative.name}"
        lines.append(f"{name:<44}{_extent(path)}".rstrip())
    return "".join(f"{line}\n" for line in lines)


def _extent(path: Path) -> str:
    try:
        count = len(path.read_text("utf-8").splitlines())
    except UnicodeDecodeError:
        return f"{path.stat().st_size:>7,} bytes"
    return f"{count:>7,}"


def archive(project: Path, target: Path) -> None:
    """Pack the example as it is published."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in files(project):
            if path.name != NOT_COMPARED:
                packed.write(path, f"{NAME}/{path.relative_to(project).as_posix()}")


def main() -> int:
    """Write the digests."""
    with rendered() as project:
        DIGESTS.write_text(digests(project), "utf-8", newline="\n")
        print(f"{DIGESTS.relative_to(ROOT)}: {len(files(project)) - 1} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
