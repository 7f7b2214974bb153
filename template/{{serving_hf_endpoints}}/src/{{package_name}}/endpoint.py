"""The repository's folder for Hugging Face Inference Endpoints: the model, and code to run it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from .checkpoints import MANIFEST, check_replaceable, foreign_files, write_whole
from .errors import ConfigError
from .identity import model_name

SERVICE = "inference"
REQUIREMENTS = Path(SERVICE, "requirements.txt")
HANDLER = f'''"""Found by the container of Hugging Face Inference Endpoints."""

from {SERVICE} import handler


class EndpointHandler(handler.EndpointHandler):
    """Names the model as its run does, whatever folder the container has it in."""

    NAME = %s
'''


def write_endpoint(model: Path, output: Path, root: Path) -> None:
    """Write the folder to upload: `model`, and the code and pins of the project in `root`.

    Raises ConfigError where `model` is not whole, and UserError where `output` cannot be written.
    """
    if output.resolve() == model.resolve():
        raise ConfigError(f"--output is the model's own folder {model}; name another")
    if (model / "adapter_config.json").is_file():
        raise ConfigError(
            f"--model {model} holds adapters without their base model; run `make export` first "
            f"and name {model.parent / 'export'}"
        )
    if not (model / "config.json").is_file():
        raise ConfigError(f"--model {model} holds no model (no config.json); run `make export`")
    check_replaceable(output)
    package = Path(__file__).parent
    # a load test's results, say; a folder without a manifest is copied whole
    others = {MANIFEST, *(foreign_files(model) if (model / MANIFEST).is_file() else ())}

    def not_the_models(folder: str, names: list[str]) -> set[str]:
        inside = Path(folder).relative_to(model)
        return {name for name in names if (inside / name).as_posix() in others}

    def write(path: Path) -> None:
        shutil.copytree(model, path, ignore=not_the_models, dirs_exist_ok=True)
        shutil.copytree(package, path / package.name, ignore=shutil.ignore_patterns("__pycache__"))
        (path / SERVICE).mkdir()
        for source in sorted(_imported(root / SERVICE, "handler")):
            shutil.copy2(source, path / SERVICE)
        shutil.copy2(root / SERVICE / "__init__.py", path / SERVICE)
        shutil.copy2(root / REQUIREMENTS, path)
        (path / "handler.py").write_text(HANDLER % ascii(model_name(model)), encoding="utf-8")

    write_whole(output, write)


def _imported(folder: Path, module: str) -> Iterator[Path]:
    """The file of a module, and of those beside it that it imports, and so on."""
    pending, seen = [module], set[str]()
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            file = folder / f"{name}.py"
            pending += re.findall(r"^\s*from \.(\w+) import", file.read_text("utf-8"), re.MULTILINE)
            yield file
