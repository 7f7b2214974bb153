"""The requirements of a project are the closure of its choices, out of the lock."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import helpers
from extensions import pins
from locks import refresh

pytestmark = pytest.mark.unit

LOCKS = helpers.ROOT / "locks"
LOCK = """\
# Written by a test
accelerate==1.0
    # via peft
numpy==1.0 ; python_full_version < '3.12'
    # via
    #   -r framework_transformers.in
    #   accelerate
numpy==2.0 ; python_full_version >= '3.12'
    # via
    #   -r framework_transformers.in
    #   accelerate
peft==1.0
    # via -r strategy_lora.in
pytest==1.0
    # via -r dev.in
rich==1.0
    # via
    #   -r base.in
    #   pytest
torch==2.13.0
    # via
    #   -c constraints.txt
    #   -r framework_transformers.in
    #   accelerate
"""
GROUPS = {
    "base": ("rich>=1",),
    "dev": ("pytest>=1",),
    "framework_transformers": ("numpy>=1", "torch>=2"),
    "serving_fastapi": ("fastapi>=1",),
    "strategy_lora": ("peft>=1",),
}


@pytest.fixture
def lock(tmp_path: Path) -> list[pins.Pin]:
    path = tmp_path / "lock.txt"
    path.write_text(LOCK, "utf-8")
    return pins.read_lock(path)


def real(*chosen: str) -> pins.Requirements:
    return pins.requirements(
        pins.read_lock(LOCKS / "transformers.txt"), pins.read_groups(LOCKS), chosen
    )


def names(lines: tuple[str, ...]) -> set[str]:
    return {line.split("==")[0] for line in lines if "==" in line}


def test_a_project_gets_what_its_choices_need_and_no_more(lock: list[pins.Pin]) -> None:
    full = pins.requirements(lock, GROUPS, ["framework_transformers", "strategy_full"])
    lora = pins.requirements(lock, GROUPS, ["framework_transformers", "strategy_lora"])
    assert names(full.pinned) == {"numpy", "pytest", "rich", "torch"}
    assert names(lora.pinned) == names(full.pinned) | {"peft", "accelerate"}


def test_each_line_says_who_needs_the_package(lock: list[pins.Pin]) -> None:
    lora = pins.requirements(lock, GROUPS, ["framework_transformers", "strategy_lora"])
    assert "accelerate==1.0  # peft" in lora.pinned
    assert "peft==1.0  # this project (strategy lora)" in lora.pinned
    assert "torch==2.13.0  # this project (framework transformers), accelerate" in lora.pinned
    assert "rich==1.0  # this project" in lora.pinned
    full = pins.requirements(lock, GROUPS, ["framework_transformers"])
    assert "torch==2.13.0  # this project (framework transformers)" in full.pinned


def test_a_package_with_one_version_a_python_keeps_both(lock: list[pins.Pin]) -> None:
    numpy = [line for line in real("framework_transformers").pinned if line.startswith("numpy==")]
    assert len(numpy) == 2
    assert all("python_full_version" in line for line in numpy)


def test_the_service_gets_no_development_tools(lock: list[pins.Pin]) -> None:
    result = pins.requirements(lock, GROUPS, ["framework_transformers"])
    assert names(result.pinned_serving) == {"numpy", "rich", "torch"}
    assert names(result.pinned) - names(result.pinned_serving) == {"pytest"}


def test_ranges_are_split_by_who_installs_them() -> None:
    result = pins.requirements([], GROUPS, ["framework_transformers", "serving_fastapi"])
    assert result.runtime == ("numpy>=1", "rich>=1", "torch>=2")
    assert result.serving == ("fastapi>=1",)
    assert result.dev == ("pytest>=1",)


@pytest.mark.parametrize("chosen", [["strategy_full"], ["strategy_lora", "serving_fastapi"]])
def test_every_range_of_a_real_project_has_a_pin(chosen: list[str]) -> None:
    result = real("framework_transformers", *chosen)
    direct = {
        re.split(r"[<>=!~ ;]", line)[0] for line in (*result.runtime, *result.serving, *result.dev)
    }
    assert direct <= names(result.pinned)


def test_the_real_lock_holds_one_plain_torch_and_no_gpu_runtime() -> None:
    lock = pins.read_lock(LOCKS / "transformers.txt")
    assert [pin.requirement for pin in lock if pin.name == "torch"] == ["torch==2.13.0"]
    assert not [pin.name for pin in lock if refresh.GPU_RUNTIME.match(pin.requirement)]


def test_locks_name_no_host() -> None:
    for path in LOCKS.iterdir():
        if path.suffix in (".txt", ".in"):
            assert "://" not in path.read_text("utf-8"), path.name


def test_every_group_is_base_dev_or_an_offered_choice() -> None:
    from extensions import overlays, questions

    known = {"base", "dev", *overlays.variables(questions.read(helpers.ROOT / "copier.yml"), {})}
    for group in pins.read_groups(LOCKS):
        assert set(pins.overlays_of(group)) <= known, group


def test_a_group_of_several_overlays_needs_them_all_and_dev_adds_to_dev() -> None:
    groups = {**GROUPS, "dev_serving_fastapi__task_llm": ("openai>=3",)}
    for chosen, extra in (
        (["serving_fastapi"], ()),
        (["task_llm"], ()),
        (["serving_fastapi", "task_llm"], ("openai>=3",)),
    ):
        result = pins.requirements([], groups, ["framework_transformers", *chosen])
        assert result.dev == (*extra, "pytest>=1")
        assert "openai>=3" not in (*result.runtime, *result.serving)


def test_refreshing_drops_the_gpu_runtime_and_uvs_header() -> None:
    gpu_runtime = "nvidia-nccl-cu13==2.29\n    # via torch\n"
    text = f"# uv's header\n{gpu_runtime}torch==2.13.0\n    # via x\ntriton==3.7\n"
    assert refresh.tidy(text) == "torch==2.13.0\n    # via x\n"


def test_refreshing_uses_pips_index_where_uv_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        refresh,
        "pip_configuration",
        lambda: {
            "index-url": "file:///mirror",
            "find-links": "/wheels",
            "extra-index-url": "file:///more",
        },
    )
    for name in (
        "UV_INDEX",
        "UV_DEFAULT_INDEX",
        "UV_INDEX_URL",
        "UV_EXTRA_INDEX_URL",
        "UV_CONFIG_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_FIND_LINKS", "/wheels")
    env = refresh.environment()
    assert env["UV_DEFAULT_INDEX"] == "file:///mirror"
    assert env["UV_EXTRA_INDEX_URL"] == "file:///more"
    assert "UV_FIND_LINKS" not in env
    monkeypatch.setenv("UV_DEFAULT_INDEX", "file:///own")
    assert refresh.environment()["UV_DEFAULT_INDEX"] == "file:///own"
