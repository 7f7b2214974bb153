"""What `make update` reads of `.copier-answers.yml`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from machine_scripts import machine

pytestmark = pytest.mark.unit

answers = machine("answers")
SCRIPTS = Path(answers.__file__).parents[1]


@pytest.mark.parametrize(
    "lines",
    [
        "_src_path: gh:org/x  # ours",
        "'_src_path': 'gh:org/x'",
        '"_src_path": "gh:org/x" # ours',
        "_src_path:\n  gh:org/x",
        '_src_path: "C:\\\\templates\\\\\\"x\\""',
        "_src_path: /a folder/with blanks\n    and a long\n    name  # of three lines",
        "facts: {rows: [1, 2]}\nnote: >\n  a text\n\n  of lines: two\n_src_path: gh:org/x",
    ],
)
def test_an_address_written_by_hand_is_read_as_yaml(lines: str, tmp_path: Path) -> None:
    text = f"---\n# a comment\nserving:\n- fastapi\n{lines}\n_commit: 1.10"
    found = answers.read(text, tmp_path)
    assert (found["_src_path"], found["_commit"]) == (yaml.safe_load(text)["_src_path"], "1.10")


@pytest.mark.parametrize(
    "line",
    [
        *("<<<<<<< HEAD", ">>>>>>> theirs", "||||||| base"),
        *("ci: !!python/object/apply:os.system [x]", "ci: !!python/name:os.system", "ci: *other"),
        *("ci: 'github", 'ci: "github', "ci: a: b", "ci: @x", "ci: \udce9", "ci: \x07"),
    ],
)
def test_what_yaml_refuses_is_refused_with_its_line(line: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^line 3$"):
        answers.read(f"# ours\nlicense: MIT\n{line}\ntask: llm\n", tmp_path)


@pytest.mark.parametrize("text", ["- fastapi", "only a text", "", "license: 2026-11-31"])
def test_what_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^line 1$"):
        answers.read(text, tmp_path)


READ = "import sys; from machine import answers; from pathlib import Path\n"
READ += "print(answers.read(sys.argv[1], Path(sys.argv[2]))['_src_path'])"


@pytest.mark.parametrize("has_venv", [False, True])
def test_the_systems_python_needs_no_library(has_venv: bool, tmp_path: Path) -> None:
    if has_venv:
        packages = tmp_path / ".venv/lib/python3.11/site-packages"
        packages.mkdir(parents=True)
        (packages / "yaml").symlink_to(Path(yaml.__file__).parent)
    done = subprocess.run(  # -S: without what is installed
        [sys.executable, "-S", "-c", READ, "_src_path: a folder\n  of two # ours", str(tmp_path)],
        cwd=SCRIPTS,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ("a folder of two" if has_venv else "a folder of two # ours")
