"""Files that Copier cannot merge, and removed files, are never lost without a word."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import helpers
import small_template as small

pytestmark = pytest.mark.update

OLD, NEW = "1.2.0", "1.3.0"
OWN = b"\x89PNG\0 ours"
TEXT = "Café, größer\nsecond\nthird\nfourth\nfifth\n"
# What the old version has, and what the new one has instead.
FILES: dict[str, tuple[bytes | None, bytes | None]] = {
    "logo.png": (b"\x89PNG\0 one", b"\x89PNG\0 two"),
    "untouched.png": (b"\x89PNG\0 three", b"\x89PNG\0 four"),
    "photo.png": (b"\x89PNG\0 five", b"\x89PNG\0 five"),
    "added.bin": (None, b"\0 six"),
    "table.csv": (TEXT.encode(), TEXT.upper().encode()),
    "latin.md": (TEXT.encode(), TEXT.encode()),
    "latin and new.md": (TEXT.encode(), TEXT.encode() + b"sixth\n"),
    "dropped.png": (b"\x89PNG\0 seven", None),
    "dropped.md": (TEXT.encode(), None),
    "dropped as it was.md": (TEXT.title().encode(), None),
    "{{package_name}}.md.jinja": (b"For {{ package_name }}\n", None),
    "linked.md": (TEXT.encode(), TEXT.replace("second", "2").encode()),
    "linked and the same.md": (TEXT.encode(), TEXT.encode()),
    "linked and dropped.md": (TEXT.encode(), None),
}
EDITS = {
    "logo.png": OWN,
    "photo.png": OWN,
    "added.bin": OWN,
    "table.csv": TEXT.encode("utf-16"),
    "latin.md": TEXT.encode("latin-1"),
    "latin and new.md": TEXT.encode("latin-1"),
    "dropped.png": OWN,
    "dropped.md": TEXT.lower().encode(),
    "router.md": b"For us\n",
}


LINKS = [name for name in FILES if name.startswith("linked")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the old version."""
    template = small.make(tmp_path_factory.mktemp("template") / "template")
    for number, version in enumerate((OLD, NEW)):
        for name, contents in FILES.items():
            path, content = template / "template" / name, contents[number]
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
        helpers.commit_all(template, version, version)
    project = tmp_path_factory.mktemp("made") / "project"
    done = small.copier(project.parent, "copy", "--vcs-ref", OLD, str(template), str(project))
    assert done.returncode == 0, done.stderr
    return project


@pytest.mark.parametrize(
    ("history", "way"),
    [
        ("second commit", "make update"),
        ("first commit", "copier update"),
        ("shallow", "copier update"),
        ("subfolder", "make update"),
    ],
)
def test_what_copier_cannot_merge_stays_the_users_and_is_named(
    made: Path, tmp_path: Path, history: str, way: str
) -> None:
    root = tmp_path / "repository"
    project = root / ("below" if history == "subfolder" else "")
    shutil.copytree(made, project)
    if history != "first commit":
        helpers.commit_all(root, "made from the template")
    for name, content in EDITS.items():
        (project / name).write_bytes(content)
    beside = tmp_path / "beside.md"
    beside.write_text(TEXT, "utf-8")
    for name in LINKS:
        (project / name).unlink()
        (project / name).symlink_to(beside)
    (project / "third_party").mkdir()
    (project / "third_party/linked.md").symlink_to(beside)  # in no place of the template's
    helpers.commit_all(root, "ours")
    if history == "shallow":
        clone = tmp_path / "clone"
        helpers.git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{root}", str(clone))
        project = clone

    done = small.update(project) if way == "make update" else small.copier(project, "update")
    assert done.returncode == 0, done.stderr
    for name, content in EDITS.items():
        if (project / name).exists():
            assert (project / name).read_bytes() == content, name
    assert (project / "untouched.png").read_bytes() == b"\x89PNG\0 four"
    assert list(project.rglob("*.rej")) == []
    assert all((project / name).readlink() == beside for name in LINKS)
    assert beside.read_text("utf-8") == TEXT

    told = done.stderr.partition("These are no UTF-8 text, or links")[2]
    kept, _, removed = told.partition("The template has these files no more")
    differing = {"logo.png", "added.bin", "table.csv", "latin and new.md"}
    differing |= {"linked.md", "linked and dropped.md"}
    assert {name for name in FILES if f"  {name}\n" in kept} == differing
    assert "third_party" not in kept
    gone = {"dropped.png", "dropped.md"}
    assert {name for name in FILES if f"  {name}\n" in removed} == gone
    # a rendered file: only the history tells whether it was changed
    assert ("  router.md\n" in removed) == (history != "first commit")
    assert ("you may have changed them" in removed) == (history == "shallow")
