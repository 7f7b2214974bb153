"""What users do to any Python project that a template made, and what stops its update."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import yaml

import edits
import updating

LICENCES = ("license", "copyright_license")
"""The questions for it, of these templates."""
MOVED = "moved_router"


def own_files(project: Path) -> None:
    """Modules, tests, a workflow, a page with an umlaut, a link and Windows' lines of their own."""
    package = edits.package(project)
    edits.write(package / "our_features.py", 'OURS = "ours"\n')
    edits.write(package / "extra" / "__init__.py", "")
    edits.write(project / "tests/test_our_features.py", "def test_ours() -> None:\n    assert 1\n")
    edits.write(project / ".github/workflows/nightly.yml", "name: nightly\non: workflow_dispatch\n")
    edits.write(project / "notes from windows.txt", "first\r\nsecond\r\n")
    edits.write(project / "docs/über uns.md", "# Über uns\n")
    (project / "docs/about us.md").symlink_to("über uns.md")


def code(project: Path) -> None:
    """A comment above the first and the last function of each of the three longest Python files."""
    files = sorted(project.rglob("*.py"), key=lambda path: (-path.stat().st_size, path))
    for path in files[:3]:
        lines = path.read_text("utf-8").splitlines(keepends=True)
        places = [at for at, line in enumerate(lines) if re.match(r"(def|class|async def) ", line)]
        for place in sorted({places[0], places[-1]}, reverse=True) if places else ():
            lines.insert(place, "# ours\n")
        path.write_text("".join(lines), "utf-8")


def deleted(project: Path) -> None:
    """Pages, a test and a workflow that this user has no use for."""
    pages = sorted((project / "docs").glob("*.md"))[:2]
    tests = sorted((project / "tests").glob("test_*.py"))[:1]
    for path in (*pages, *tests, *sorted((project / ".github/workflows").glob("*.yml"))[:1]):
        path.unlink()


def settings(project: Path) -> None:
    """Another description, and a table of a tool of their own, in pyproject.toml."""
    path = project / "pyproject.toml"
    edits.change(path, r"^description = .*", 'description = "Ours."')
    with path.open("a", encoding="utf-8") as file:
        file.write("\n[tool.ours]\nlevel = 3\n")


def dependency(project: Path) -> None:
    """A package of their own in pyproject.toml."""
    edits.change(
        project / "pyproject.toml", r"^dependencies = \[", 'dependencies = [\n  "networkx>=3.6",'
    )


def moved_package(project: Path) -> None:
    """Another name for the package, in all files and in the answers."""
    old = edits.package(project)
    shutil.move(old, old.with_name(MOVED))
    names = {old.name: MOVED, old.name.upper(): MOVED.upper(), "ticket-router": "moved-router"}
    for path in project.rglob("*"):
        if path.is_file() and ".git" not in path.relative_to(project).parts:
            content = path.read_bytes()
            for name, new in names.items():
                if name != "ticket-router" or path.name == updating.ANSWERS_FILE:
                    content = re.sub(rb"\b" + name.encode() + rb"\b", new.encode(), content)
            path.write_bytes(content)


def surroundings(project: Path) -> None:
    """A section in README.md, lines at the end of .gitignore and the Makefile, an executable."""
    text = (project / "README.md").read_text("utf-8")
    head, _, tail = text.rpartition("\n## ")
    section = "\n## Our team\n\nFloor three.\n"
    whole = f"{head}{section}\n## {tail}" if head else text + section
    (project / "README.md").write_text(whole, "utf-8")
    for name, line in ((".gitignore", "/our-notes/\n"), ("Makefile", "\nours:\n\t@echo ours\n")):
        if (project / name).is_file() and not (project / name).is_symlink():
            with (project / name).open("a", encoding="utf-8") as file:
                file.write(line)
    sorted((project / "tests").glob("*.py"))[0].chmod(0o755)


def windows_lines(project: Path) -> None:
    """README.md saved with Windows' line ends."""
    path = project / "README.md"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def latin(project: Path) -> None:
    """README.md with a line in another encoding."""
    with (project / "README.md").open("ab") as file:
        file.write("\nNotre café.\n".encode("latin-1"))


def everything(project: Path) -> None:
    """A year of it: own files, code, settings, a dependency, README and its like."""
    for edit in (own_files, code, settings, dependency, surroundings):
        edit(project)


EDITS: dict[str, edits.Edit] = {
    edit.__name__: edit
    for edit in (
        *(edits.nothing, own_files, code, deleted, settings, dependency, moved_package),
        *(surroundings, windows_lines, latin, everything),
    )
}


# ── What stops an update ──


def uncommitted(project: Path, template: Path) -> None:
    """A change that is not committed."""
    with (project / "README.md").open("a", encoding="utf-8") as file:
        file.write("not committed\n")


def no_answers(project: Path, template: Path) -> None:
    """No answers file."""
    (project / updating.ANSWERS_FILE).unlink()
    edits.commit(project, "no answers")


def broken_answers(project: Path, template: Path) -> None:
    """An answers file that is no YAML."""
    path = project / updating.ANSWERS_FILE
    path.write_text(path.read_text("utf-8") + 'name: "no end\n', "utf-8")
    edits.commit(project, "broken answers")


def moved_template(project: Path, template: Path) -> None:
    """A template that is no longer where it was."""
    replace_answer(project, "_src_path", str(template / "gone"))


def unknown_version(project: Path, template: Path) -> None:
    """A version that the template does not hold."""
    replace_answer(project, "_commit", "77.7.7")


def no_choice(project: Path, template: Path) -> None:
    """An answer that is no longer among the choices."""
    stored = updating.answers_of(project)
    (key,) = [key for key in LICENCES if key in stored]
    replace_answer(project, key, "None-1.0")


def no_repository(project: Path, template: Path) -> None:
    """A project that is no git repository."""
    shutil.rmtree(project / ".git")


STOPS: tuple[Callable[[Path, Path], None], ...] = (
    *(uncommitted, no_answers, broken_answers, moved_template, unknown_version),
    *(no_choice, no_repository),
)


def replace_answer(project: Path, key: str, value: str) -> None:
    """Edit one answer by hand, and commit that."""
    path = project / updating.ANSWERS_FILE
    stored = updating.answers_of(project)
    path.write_text(yaml.safe_dump({**stored, key: value}, allow_unicode=True), "utf-8")
    edits.commit(project, "edited answers")
