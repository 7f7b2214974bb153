"""Pin what pyproject.toml allows into requirements.txt; pins that still fit stay.

python scripts/lock.py
python scripts/lock.py --upgrade
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from machine import environments, pip_config, steps
from machine.environments import Project
from machine.install_errors import SetupError

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Exact versions of what pyproject.toml allows. Written by: make lock"
DEV = f"{steps.STATE}/dev.in"
OPTIONS = (
    "--universal --quiet --no-header --no-emit-index-url --no-emit-find-links "
    "--annotation-style line"
).split()

# ends the template's files too: unchanged lines between its pins and yours are no conflict
ADDED = "# For what you added to pyproject.toml"
# What an update could not merge, in git's marks: of it the template's side.
CONFLICT = re.compile(r"^<{7} .*?^={7}\r?\n(.*?)^>{7} [^\n]*\n", re.MULTILINE | re.DOTALL)
PIN = re.compile(  # an exact version, or an address
    r"(?P<name>[\w.-]+)(?P<version>==[^\s;#]+| @ \S+)(?P<marker>[^#]*?)(?:\s+# (?P<users>.*))?$"
)
Pin = re.Match[str]
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
    before = target.read_text(encoding="utf-8") if target.is_file() else HEADER
    before = CONFLICT.sub(r"\1", before)
    draft.write_text(before, encoding="utf-8")  # uv keeps the pins of the file it writes to
    command = ("pip", "compile", "pyproject.toml", "--all-extras", "--python-version", oldest[0])
    project.run(uv, *command, *OPTIONS, *options, "--output-file", draft, env=environment())
    lines = draft.read_text(encoding="utf-8").splitlines()
    draft.unlink()
    pins = [line for line in lines if not GPU_RUNTIME.match(line)]
    written = in_the_order_of(before.splitlines(), pins)
    steps.write_atomically(target, "\n".join(written) + "\n")
    print(f"{name}: {len(pins)} pins")


def in_the_order_of(before: Sequence[str], resolved: Sequence[str]) -> list[str]:
    """Return uv's lines in the order of the lines before; new ones come last.

    What still holds stays as it is: the next update then changes the template's lines, and meets
    none of yours. Comments stay; requirements that are not among the pins go.
    """
    new, old = by_package(resolved), by_package(before)
    lines: list[str] = []
    for line in before:
        if name := package(line):
            lines += renewed(old.get(name, []), new.pop(name, []))
        elif not line or line.startswith(("#", "--")):  # not what uv writes below a pin
            lines.append(line)
    if new and any(map(package, lines)) and ADDED not in lines:
        lines += ["", ADDED]
    for name in sorted(new):
        lines += renewed([], new[name])
    return lines + [line for line in resolved if not PIN.match(line)]  # folders


def package(line: str) -> str:
    """Return the normalised name of what a line requires; empty for other lines."""
    found = re.match(r"[A-Za-z0-9][\w.-]*", line)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


def by_package(lines: Sequence[str]) -> dict[str, list[Pin]]:
    """Return the pins of each package: more than one where versions differ between Pythons."""
    found: dict[str, list[Pin]] = {}
    for pin in filter(None, map(PIN.match, lines)):
        found.setdefault(package(pin.string), []).append(pin)
    return found


def renewed(old: Sequence[Pin], new: Sequence[Pin]) -> list[str]:
    """Return a package's lines: an old one where it holds, else the new one with its comment."""
    lines = []
    for pin in new:
        same = [each for each in old if each["version"] == pin["version"]]
        kept = next((each for each in same if holds(each, pin, len(new) == 1)), None)
        users = (same or old)[0]["users"] if old else users_of(pin)
        requirement = f"{pin['name']}{pin['version']}{pin['marker'].rstrip()}"
        lines.append(kept.string if kept else f"{requirement}  # {users}" if users else requirement)
    return lines


def holds(old: Pin, new: Pin, is_only: bool) -> bool:
    """Whether a line of this version does: it has the same condition, or none and no other pin."""
    is_ours = "(pyproject.toml)" in (new["users"] or "")  # there a condition may be wanted
    condition = old["marker"].strip()
    return condition == new["marker"].strip() or (not condition and is_only and not is_ours)


def users_of(pin: Pin) -> str:
    """Say who needs a package, as the template does, from uv's comment."""
    users = (pin["users"] or "").removeprefix("via ").split(", ")
    named = ["this project" if user.endswith((".toml)", ".in")) else user for user in users]
    return ", ".join(dict.fromkeys(user for user in named if not user.startswith("-c ")))


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
