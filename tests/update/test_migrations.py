"""Renamed configuration keys: in the user's YAML, and nothing else of it changes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

import helpers
import releases

sys.path.insert(0, str(helpers.ROOT / "hooks"))

import migrate
import yaml_keys

pytestmark = pytest.mark.update


@pytest.mark.parametrize(
    ("text", "old", "new", "expected"),
    [
        ("a:\n  x: 1 # one\n  y: 2\n", "a.x", "a.z", "a:\n  z: 1 # one\n  y: 2\n"),
        ("a:\n  'x': \"1\"\n", "a.x", "a.z", "a:\n  'z': \"1\"\n"),
        ("a: {x: 1, y: 2} # both\n", "a.x", "a.z", "a: {z: 1, y: 2} # both\n"),
        ("x: 1\n", "x", "z", "z: 1\n"),
        (
            "# mine\na:\n  w: 0\n  # why\n  x: 1   # one\nb:\n    y: [1, 2]\n\n# end\n",
            "a.x",
            "b.z",
            "# mine\na:\n  w: 0\nb:\n    y: [1, 2]\n    # why\n    z: 1   # one\n\n# end\n",
        ),
        ("a:\n  w: 0\n  x: 1", "a.x", "b.z", "a:\n  w: 0\n\nb:\n  z: 1"),
        ("c: 0\n\na:\n  x: 1\n", "a.x", "b.z", "c: 0\n\nb:\n  z: 1\n"),
        ("a:\r\n  w: 0\r\n  x: 1\r\n", "a.x", "b.z", "a:\r\n  w: 0\r\n\r\nb:\r\n  z: 1\r\n"),
        ("a:\n  w: 0\n  x: 1\nb:\n  z: 1\n", "a.x", "b.z", "a:\n  w: 0\nb:\n  z: 1\n"),
        ("a:\n  größe: ü # ö\n  x: 'é'\n", "a.x", "a.z", "a:\n  größe: ü # ö\n  z: 'é'\n"),
    ],
)
def test_a_key_is_renamed_and_the_rest_stays(text: str, old: str, new: str, expected: str) -> None:
    found = yaml_keys.renamed(text, old, new)
    assert found.rstrip("\n") == expected.rstrip("\n")
    assert yaml_keys.renamed(found, old, new) == found
    entry = yaml_keys.find(found, new)
    assert entry and yaml_keys.value_text(found, entry)


@pytest.mark.parametrize("text", ["", "b: 1\n", "a:\n", "a: 3\n", "- a\n", "# x\n"])
def test_a_file_without_the_key_stays(text: str) -> None:
    assert yaml_keys.renamed(text, "a.x", "b.z") == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a:\n  x: 1\nb:\n  z: 2\n", r"sets a.x \(line 2\) and b.z \(line 4\).*keep the one"),
        ("a: {x: 1, y: 2}\n", r"within braces \(line 1\)"),
        ("a:\n  y: 0\n  x: &one 1\n", "several lines or with an anchor"),
        ("c: &one 1\na:\n  y: 0\n  x: *one\n", "several lines or with an anchor"),
        ("a:\n  y: 0\n  x:\n    deep: 1\n", "several lines or with an anchor"),
        ("a: &one\n  y: 0\n  x: 1\nc: *one\n", "has an anchor on the section of a.x"),
        ("a:\n  y: 0\n  x: |\n    text\n", "several lines or with an anchor"),
        ("a:\n  y: 0\n  x: 1\nb: {y: 1}\n", "has no plain section b to write to"),
        ("a:\n  y: 0\n  x: 1\n...\n", "has no place for the section b"),
        ("a:\n  x: 1\n  x: 2\n", "holds a.x twice"),
        ("a: [\n", "cannot be read"),
        ("a:\n  x: 1\n---\nb: 1\n", "cannot be read"),
        (
            "a: # our limits\n  x: 1\nb:\n  y: 2\n",
            r"would lose what stands behind a colon \(line 1",
        ),
        ("a: # ours\n  x: 1\nb:\n  z: 1\n", r"would lose what stands behind a colon \(line 1"),
        ("a:\n# ours\n  x: 1\n", "would lose a comment above x"),
    ],
)
def test_what_a_program_should_not_decide_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(yaml_keys.AmbiguousError, match=sentence):
        yaml_keys.renamed(text, "a.x", "b.z")


def test_what_cannot_be_renamed_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "configs/deep").mkdir(parents=True)
    both = "limits:\n  max_waiting_requests: 5\nengine:\n  max_waiting: 9\n"
    (tmp_path / "configs/both.yaml").write_text(both)
    (tmp_path / "configs/deep/own.yml").write_bytes(
        b"limits:\n  max_waiting_requests: 5 # \xe9 is no UTF-8\n  max_inputs: 1\n"
    )
    (tmp_path / "configs/data.txt").write_text("max_waiting_requests: 5\n")
    marks = "limits:\n<<<<<<< ours\n  max_waiting_requests: 5\n=======\n>>>>>>> theirs\n"
    (tmp_path / "configs/marks.yaml").write_text(marks)
    (tmp_path / "elsewhere.yaml").write_text("limits:\n  max_waiting_requests: 5\n")
    (tmp_path / "configs/link.yaml").symlink_to("../elsewhere.yaml")
    told = migrate.migrate(tmp_path)
    assert (tmp_path / "configs/both.yaml").read_text() == both
    assert (tmp_path / "configs/data.txt").read_text() == "max_waiting_requests: 5\n"
    assert (tmp_path / "configs/marks.yaml").read_text() == marks
    assert "max_waiting_requests" in (tmp_path / "elsewhere.yaml").read_text()
    assert len(told) == 3 and "keep the one you mean" in told[0] and "both.yaml" in told[0]
    assert "cannot be read" in told[1] and "own.yml" in told[1]
    assert "has conflicts to resolve" in told[2] and "marks.yaml" in told[2]


LIMITS = "limits:\n  max_inputs: 1\n  max_waiting_requests: {} # {}\n"
ENGINE = "limits:\n  max_inputs: 1\nengine:\n  max_waiting: {} # inputs\n"


@pytest.mark.parametrize("comment", ["requests", "ours: they retry"])
def test_a_conflict_is_settled_by_the_new_name_or_shows_what_the_user_wrote(
    tmp_path: Path, comment: str
) -> None:
    """A value alone moves; where its comment is the user's too, only they can place it."""
    path = tmp_path / "configs/serve.yaml"
    path.parent.mkdir()
    path.write_text(LIMITS.format(32, "requests"))
    helpers.commit_all(tmp_path, "base")
    helpers.git(tmp_path, "checkout", "--quiet", "-b", "theirs")
    path.write_text(ENGINE.format(64))
    helpers.commit_all(tmp_path, "theirs")
    helpers.git(tmp_path, "checkout", "--quiet", "main")
    path.write_text(LIMITS.format(96, comment))
    helpers.commit_all(tmp_path, "ours")
    with pytest.raises(RuntimeError):
        helpers.git(tmp_path, "merge", "theirs")
    marked = path.read_text()
    (told,) = migrate.migrate(tmp_path)
    if comment == "requests":
        assert path.read_text() == ENGINE.format(96) and "your value is there" in told
    else:
        assert path.read_text() == marked and f"max_waiting_requests: 96 # {comment}" in marked
        assert "has conflicts to resolve" in told and "engine.max_waiting" in told


def test_every_renamed_key_was_in_the_version_before_and_has_its_name_since() -> None:
    releases.require_history()
    versions = list(releases.released())
    for rename in migrate.renames():
        number = versions.index(rename.version) if rename.version in versions else len(versions)
        before = versions[number - 1]
        assert _mentions(releases.released()[before], rename.old)
        now = releases.released().get(rename.version, "HEAD")
        assert _mentions(now, rename.new) and not _mentions(now, rename.old)


# Keys that no version has any more and that have no other name either, and why.
REMOVED: dict[str, str] = {}


def test_a_key_of_a_released_configuration_is_there_or_renamed_or_removed_on_purpose() -> None:
    releases.require_history()
    now = _keys("HEAD")
    renamed = {rename.old for rename in migrate.renames()}
    for version, commit in releases.released().items():
        before = _keys(commit)
        assert len(before) > 20
        assert before - now - renamed == before & set(REMOVED), version


def _keys(commit: str) -> set[str]:
    """Return every key of every configuration file of the template, such as `limits.max_inputs`."""
    paths = ":(glob)template/**/configs/*.y*ml*"
    lines = helpers.git(helpers.ROOT, "grep", "-E", "^ *[a-z_]+:( |$)", commit, "--", paths)
    found: set[str] = set()
    section: list[str] = []
    for line in lines.splitlines():
        _, _, text = line.removeprefix(f"{commit}:").partition(":")
        name = text.split(":")[0]
        depth = (len(name) - len(name.lstrip())) // 2
        section[depth:] = [name.strip()]
        found.add(".".join(section))
    return found


def _mentions(commit: str, key: str) -> bool:
    section, name = key.split(".")
    found = helpers.git(
        helpers.ROOT, "grep", "-h", f"^  {name}:\\|^{section}:", commit, "--", "template/*.jinja"
    )
    return f"  {name}:" in found and f"{section}:" in found


def test_the_table_is_valid() -> None:
    for rename in migrate.renames():
        assert rename.old != rename.new and rename.version
        assert yaml.safe_load(f"{rename.old}: 1") == {rename.old: 1}
