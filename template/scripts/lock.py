"""Pin what pyproject.toml allows into requirements.txt; pins that still fit stay.

python scripts/lock.py
python scripts/lock.py --upgrade
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from machine import environments, pip_config, steps
from machine.environments import Project
from machine.install_errors import SetupError

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Exact versions of what pyproject.toml allows. Written by: make lock\n"
DEV = f"{steps.STATE}/dev.in"
OPTIONS = (
    "--universal --quiet --no-header --no-emit-index-url --no-emit-find-links "
    "--annotation-style line"
).split()

# What an update could not merge, in git's marks: of it the template's side.
CONFLICT = re.compile(r"^<{7} .*?^={7}\r?\n(.*?)^>{7} [^\n]*\n", re.MULTILINE | re.DOTALL)
# PyTorch's CUDA wheel pins these itself. Left to it, a CPU build does not drag them in.
GPU_RUNTIME = re.compile(r"(?:nvidia-|cuda-|triton==)")


def main() -> int:
    """Write requirements.txt and, for the service's image, inference/requirements.txt."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--upgrade", action="store_true", help="take the newest releases")
    upgrade = ("--upgrade",) if parser.parse_args().upgrade else ()
    try:
        import tomllib  # 3.11; `machine` has checked the version

        pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        # not `--group dev`: uv refuses groups of a project that it does not manage
        steps.write_atomically(ROOT / DEV, "\n".join(pyproject["dependency-groups"]["dev"]) + "\n")
        requires = pyproject["project"]["requires-python"]
        lock(requires, "requirements.txt", DEV, *upgrade)
        if (ROOT / "inference" / "requirements.txt").is_file():
            lock(requires, "inference/requirements.txt", "--constraints", "requirements.txt")
    except SetupError as error:
        remedy = error.remedy.replace("make setup", "make lock")
        print(f"error: {error}.\n  {remedy}.", file=sys.stderr)
        return 1
    except KeyError as error:
        print(f"error: pyproject.toml has no {error.args[0]}: write it", file=sys.stderr)
        return 1
    except ValueError as error:
        where = "after an update, what stands between <<<<<<< and >>>>>>>"
        print(f"error: pyproject.toml ({error}): mend that line ({where})", file=sys.stderr)
        return 1
    print("now run `make setup` to install these versions, and `make test`")
    return 0


def lock(requires: str, name: str, *options: str) -> None:
    """Resolve for every platform and supported Python; replace the file only when that worked."""
    oldest = re.search(r"\d+\.\d+", requires)
    if oldest is None:
        raise SetupError(
            "pyproject.toml has no lower bound in requires-python", 'write one, such as ">=3.11"'
        )
    project = Project(ROOT, requires)
    uv = environments.find_uv(project, lambda line: print(line, file=sys.stderr))
    target, draft = ROOT / name, ROOT / steps.STATE / "lock.txt"
    pins_now = CONFLICT.sub(r"\1", target.read_text(encoding="utf-8"))
    draft.write_text(pins_now, encoding="utf-8")  # uv keeps the pins of the file it writes to
    command = ("pip", "compile", "pyproject.toml", "--all-extras", "--python-version", oldest[0])
    project.run(uv, *command, *OPTIONS, *options, "--output-file", draft, env=environment())
    lines = draft.read_text(encoding="utf-8").splitlines(keepends=True)
    draft.unlink()
    pins = [line for line in lines if not GPU_RUNTIME.match(line)]
    steps.write_atomically(target, HEADER + "".join(pins))
    print(f"{name}: {len(pins)} pins")


def environment() -> Mapping[str, str]:
    """Return uv's environment with pip's settings, but for folders of wheels (find-links).

    A local build of PyTorch (`2.13.0+cpu`) in one of them would become the pin of everybody.
    """
    env = dict(os.environ)
    pip = pip_config.parse(pip_config.read(ROOT))
    pip.pop("find-links", None)
    env.pop("UV_FIND_LINKS", None)
    return env | pip_config.for_uv(pip, env, pip_config.uv_file_settings(ROOT, env))


if __name__ == "__main__":
    sys.exit(main())
