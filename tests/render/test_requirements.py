"""requirements.txt is the exact closure of what a project needs."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from projects import Rendered

pytestmark = pytest.mark.render

# Where a package is imported under another name than it is installed under.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "yaml": "pyyaml",
    "dotenv": "python-dotenv",
    "opentelemetry": "opentelemetry-api",  # its SDK is for those who want traces
    "mlflow": "mlflow-skinny",
    "pydantic_settings": "pydantic-settings",
}
DEVELOPMENT = "# To develop"


def pins(text: str) -> dict[str, str]:
    """Return package → its comment."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        requirement, _, comment = line.partition("  # ")
        if requirement and not requirement.startswith("#"):
            parsed = Requirement(requirement)
            assert str(parsed.specifier).startswith("=="), f"not pinned: {line}"
            found[canonicalize_name(parsed.name)] = comment
    return found


def imported(files: list[Path], own: set[str]) -> dict[str, str]:
    """Return the distribution of each third-party import → a file that imports it."""
    found: dict[str, str] = {}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for module in {name.split(".")[0] for name in names}:
                if module not in sys.stdlib_module_names and module not in own:
                    distribution = DISTRIBUTIONS.get(module, module)
                    found[canonicalize_name(distribution)] = path.name
    return found


def own_modules(project: Rendered) -> set[str]:
    """Return what the project itself makes importable, from its root, src, scripts and tests."""
    folders = (".", "src", "scripts", "tests")
    paths = [path for folder in folders for path in (project.root / folder).glob("*")]
    return {path.stem for path in paths if path.is_dir() or path.suffix == ".py"}


def test_it_ends_where_make_lock_puts_what_users_add(project: Rendered) -> None:
    heading = re.search(
        r'^ADDED = "(.+)"$', (project.root / "scripts/lock.py").read_text("utf-8"), re.M
    )
    assert heading
    for path in project.files("requirements.txt"):
        assert path.read_text("utf-8").endswith(f"\n\n{heading[1]}\n"), path


def test_every_package_is_there_for_one_that_is_there(project: Rendered) -> None:
    found = pins((project.root / "requirements.txt").read_text("utf-8"))
    assert len(found) > 40
    for package, comment in found.items():
        users = [user.strip() for user in re.sub(r"\(.*?\)", "", comment).split(",")]
        assert users and all(users), f"{package}: nobody needs it"
        for user in users:
            assert user == "this project" or canonicalize_name(user) in found, f"{package}: {user}"


def test_what_the_code_imports_is_pinned(project: Rendered) -> None:
    text = (project.root / "requirements.txt").read_text("utf-8")
    runtime = pins(text.split(DEVELOPMENT)[0])
    own = own_modules(project)
    for folder in ("src", "scripts", "inference"):
        for package, file in imported(project.files(f"{folder}/**/*.py"), own).items():
            assert package in runtime, f"{folder}/…/{file} imports {package}"
    for package, file in imported(project.files("*.py"), own).items():
        assert package in pins(text), f"{file} imports {package}"


def test_the_service_can_be_installed_alone(project: Rendered) -> None:
    folder = project.root / "inference"
    assert folder.exists() == (
        not {"fastapi", "hf_endpoints"}.isdisjoint(project.answers["serving"])
    )
    if not folder.exists():
        return
    found = pins((folder / "requirements.txt").read_text("utf-8"))
    own = own_modules(project)
    files = project.files("inference/**/*.py", "src/**/*.py")
    # a service answers for a model that is there; trackers belong to training
    files = [path for path in files if not re.search("mlflow|wandb", path.name)]
    for package, file in imported(files, own).items():
        assert package in found, f"{file} imports {package}"
    assert not found.keys() & {"pytest", "ruff", "mypy", "pre-commit"}


def test_the_ranges_hold_the_pins(project: Rendered) -> None:
    pyproject = tomllib.loads((project.root / "pyproject.toml").read_text("utf-8"))
    ranges = list(pyproject["project"]["dependencies"])
    for group in pyproject["project"].get("optional-dependencies", {}).values():
        ranges += group
    for group in pyproject.get("dependency-groups", {}).values():
        ranges += [entry for entry in group if isinstance(entry, str)]
    lines = (project.root / "requirements.txt").read_text("utf-8").splitlines()
    versions = {
        canonicalize_name(Requirement(line.split("  #")[0]).name): re.search(r"==([^\s;]+)", line)
        for line in lines
        if line and not line.startswith("#")
    }
    assert len(ranges) > 5
    for text in ranges:
        wanted = Requirement(text)
        version = versions.get(canonicalize_name(wanted.name))
        assert version, f"{wanted.name} is in pyproject.toml and not in requirements.txt"
        assert wanted.specifier.contains(version[1]), f"{text} does not hold {version[1]}"


def test_the_gpu_runtime_is_left_to_pytorchs_wheel(project: Rendered) -> None:
    found = pins((project.root / "requirements.txt").read_text("utf-8"))
    assert [name for name in found if name.startswith(("nvidia-", "cuda-", "triton"))] == []
