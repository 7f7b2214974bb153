"""Pins that an update could not merge are settled by `make lock`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from machine_scripts import make_project, script

pytestmark = pytest.mark.unit
lock = script("lock")

BASE = ["aiohttp==1", "numpy==1  # torch", "torch==1", "zlib==1"]
OURS = ["aiohttp==1", "humanize==4", "numpy==1", "    # via torch", "torch==1", "zlib==1"]
THEIRS = ["aiohttp==1", "numpy==2  # torch", "torch==2", "zlib==1"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("style", ["merge", "diff3"])
def test_of_a_conflict_the_templates_pins_are_taken(tmp_path: Path, style: str, end: str) -> None:
    """As git itself writes one."""
    for name, lines in (("ours", OURS), ("base", BASE), ("theirs", THEIRS)):
        (tmp_path / name).write_text("".join(line + end for line in lines), "utf-8", newline="")
    merged = subprocess.run(
        ["git", "-c", f"merge.conflictStyle={style}", "merge-file", "-p", "ours", "base", "theirs"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert merged.returncode == 1
    text = merged.stdout.decode()
    assert "<<<<<<< ours" in text
    settled = lock.CONFLICT.sub(r"\1", text)
    assert settled == "".join(line + end for line in THEIRS)


def pins(*lines: str) -> list[str]:
    """Return lines as uv writes them."""
    return list(lines)


def test_what_still_holds_stays_where_it_was_and_what_is_new_comes_last() -> None:
    before = [
        "# Exact versions",
        "# To run",
        "anyio==4.1  # httpx",
        "numpy==2.4 ; python_version < '3.12'  # torch",
        "numpy==2.5 ; python_version >= '3.12'  # torch",
        "left==1  # nobody",
        "zlib==1  # torch",
        "",
        "# To develop",
        "mypy==1  # this project (dev)",
    ]
    resolved = pins(
        "anyio==4.1 ; sys_platform != 'emscripten'  # via httpx",  # narrower: the old one holds
        "einops==0.8      # via my-project (pyproject.toml)",
        "mypy==2  # via -r .ml-template/dev.in",
        "numpy==2.4 ; python_version < '3.12'  # via torch, einops",
        "numpy==2.5 ; python_version >= '3.12'  # via torch, einops",
        "pytz==3 ; sys_platform == 'win32'  # via -c requirements.txt, einops",
        "zlib==1  # via torch",
    )
    after = lock.in_the_order_of(before, resolved)
    assert after == [
        *(line for line in before[:-1] if not line.startswith("left")),
        "mypy==2  # this project (dev)",
        "",
        lock.ADDED,
        "einops==0.8  # this project",
        "pytz==3 ; sys_platform == 'win32'  # einops",
    ]
    assert lock.in_the_order_of(after, resolved) == after
    fewer = [line for line in resolved if not line.startswith(("einops", "pytz"))]
    assert lock.in_the_order_of(after, fewer) == after[:-2]


def test_an_update_of_every_pin_meets_no_line_of_a_user(tmp_path: Path) -> None:
    base = ["# Exact versions", "numpy==1  # torch", "zlib==1", "", lock.ADDED]
    resolved = pins("einops==0.8  # via mine", "numpy==1", "zlib==1", "zz==1  # via einops")
    theirs = [line.replace("==1", "==2") for line in base]
    sides = {"ours": lock.in_the_order_of(base, resolved), "base": base, "theirs": theirs}
    for name, lines in sides.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n", "utf-8")
    merged = subprocess.run(
        ["git", "merge-file", "-p", "ours", "base", "theirs"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert merged.returncode == 0, merged.stdout
    assert merged.stdout.splitlines() == [*theirs, "einops==0.8  # mine", "zz==1  # einops"]


def test_a_pin_that_is_needed_in_more_places_loses_its_condition() -> None:
    before = ["colorama==0.4 ; sys_platform == 'win32'  # tqdm"]
    assert lock.in_the_order_of(before, pins("colorama==0.4  # via tqdm, mine")) == [
        "colorama==0.4  # tqdm"
    ]


def test_the_form_of_uv_itself_and_a_package_that_is_there_twice() -> None:
    before = ["einops==0.7", "    # via", "    #   mine", "zlib==1", "", lock.ADDED, "einops==0.8"]
    resolved = pins("einops==0.8  # via mine", "zlib==1")
    assert lock.in_the_order_of(before, resolved) == [
        *("einops==0.8", "zlib==1"),
        *("", lock.ADDED),
    ]


def test_addresses_are_pinned_and_options_stay() -> None:
    at = "mine @ git+https://host.example/mine@0a1b#subdirectory=a ; sys_platform == 'linux'"
    before = ["--index-url https://host.example/simple", "loose>=1", "zlib==1"]
    lines = lock.in_the_order_of(before, pins(f"{at}  # via x (pyproject.toml)", "zlib==1"))
    assert lines == [before[0], "zlib==1", "", lock.ADDED, f"{at}  # this project"]


def test_a_package_in_a_folder_stays_itself() -> None:
    resolved = pins("./mylib     # via x (pyproject.toml)", "zlib==1  # via mylib")
    lines = lock.in_the_order_of(["zlib==1"], resolved)
    assert lines == ["zlib==1", resolved[0]]
    assert lock.in_the_order_of(lines, resolved) == lines


def test_of_every_line_the_package_is_seen() -> None:
    before = [
        "uvicorn[standard]==1",
        "PyYAML == 6",
        "foo_bar>=1 #x",
        "# mine",
        "    # via x",
        "-e .",
    ]
    resolved = pins("foo-bar==2  # via x", "pyyaml==7  # via x", "uvicorn==1  # via x")
    lines = lock.in_the_order_of(before, resolved)
    assert lines == ["uvicorn==1  # x", "pyyaml==7  # x", "foo-bar==2  # x", "# mine"]


def test_a_package_that_is_split_loses_the_line_for_all() -> None:
    new = ("n==1 ; python_version < '3.12'", "n==2 ; python_version >= '3.12'")
    lines = lock.in_the_order_of(["n==1  # x"], pins(*new))
    assert lines == [f"{line}  # x" for line in new]


def test_a_condition_of_ones_own_is_taken() -> None:
    new = "uvloop==1 ; sys_platform != 'win32'  # via uvicorn, mine (pyproject.toml)"
    assert lock.in_the_order_of(["uvloop==1  # this project"], pins(new)) == [
        "uvloop==1 ; sys_platform != 'win32'  # this project"
    ]


def test_comments_of_each_line_and_below_the_heading_stay() -> None:
    before = ["a==1 ; python_version < '3.12'  # x", "a==2 ; python_version >= '3.12'  # y"]
    before += ["", lock.ADDED, "# why", "b==1  # held"]
    resolved = pins(before[0], before[1], "b==1  # via a, a (pyproject.toml), -r dev.in", "c==1")
    assert lock.in_the_order_of(before, resolved) == [*before, "c==1"]
    assert lock.in_the_order_of([], pins("d==1  # via p (pyproject.toml), -r x/dev.in")) == [
        "d==1  # this project"
    ]


def test_without_a_file_all_is_written() -> None:
    lines = lock.in_the_order_of([lock.HEADER], pins("b==1  # via c", "a==2  # via b"))
    assert lines == [lock.HEADER, "a==2  # b", "b==1  # c"]


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("[project]", "<<<<<<< before updating\n[project]", "mend that line (after an update,"),
        ("requires-python", "requires", "pyproject.toml has no "),
    ],
)
def test_a_pyproject_that_cannot_be_read_is_told_in_a_sentence(
    tmp_path: Path, before: str, after: str, sentence: str
) -> None:
    project = make_project(tmp_path / "project")
    file = project / "pyproject.toml"
    file.write_text(file.read_text("utf-8").replace(before, after, 1), "utf-8")
    done = subprocess.run(
        [sys.executable, "scripts/lock.py"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert sentence in done.stderr
