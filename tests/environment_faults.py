"""What can be wrong with a machine when a project is set up, and what must then be said.

Each row: the fault, words of the sentence that names it, words of its remedy. `index` is a fault of
tests/package_index.py; the other fields change the project or its surroundings. `{index}` in a
variable is the index's address, `{proxy}` its host, `{tmp}` a folder of the test's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from package_index import PIN

NOWHERE = "http://127.0.0.1:9"  # nobody listens there
BOTH = ("uv", "venv")
CONFLICT = f"<<<<<<< before\n{PIN}=======\ntinypackage==2.0\n>>>>>>> after\n"


@dataclass(frozen=True)
class Fault:
    """One row of the table."""

    name: str
    says: str
    remedy: str
    index: str = ""
    tools: tuple[str, ...] = ("uv",)
    pins: str = PIN
    env: dict[str, str] = field(default_factory=dict)
    harm: Callable[[Path], object] = lambda project: None
    heal: Callable[[Path], object] = lambda project: None


def pyproject(text: str) -> Callable[[Path], object]:
    """Return what writes another pyproject.toml."""
    return lambda project: (project / "pyproject.toml").write_text(text, "utf-8")


GOOD = pyproject('[project]\nname = "pkg"\nversion = "0"\nrequires-python = ">=3.11,<3.14"\n')
REACH = ("cannot be reached", "check the network")
BROKE = ("broke off", "finished downloads are kept")
DAMAGED = ("serves a damaged", "clear the caches")

FAULTS = (
    Fault("no network", *REACH, tools=BOTH, env={"PIP_INDEX_URL": NOWHERE}),
    Fault("no name service", *REACH, env={"PIP_INDEX_URL": "http://nowhere.invalid/simple"}),
    Fault(
        "no name service, https",
        *REACH,
        tools=("venv",),
        env={"PIP_INDEX_URL": "https://nowhere.invalid/simple"},
    ),
    Fault(
        "the proxy is not there",
        *REACH,
        tools=BOTH,
        env={"PIP_PROXY": NOWHERE, "PIP_INDEX_URL": "https://packages.example/simple"},
    ),
    Fault(
        "the proxy wants a password",
        "the proxy wants a user name",
        "<user>:<password>@",
        index="407",
        env={"PIP_PROXY": "{proxy}", "PIP_INDEX_URL": "http://packages.example/simple"},
    ),
    Fault("the index stalls", "too slowly", "UV_HTTP_TIMEOUT=600", index="stalls", tools=BOTH),
    Fault("the index hangs up", *BROKE, index="hangs up", tools=BOTH),
    Fault("a download is cut short", *BROKE, index="cut short"),
    Fault("an index over http elsewhere", "without encryption", "write https://", tools=("venv",),
          env={"PIP_INDEX_URL": "http://packages.example/simple"}),
    Fault("access without a password", "refused access", "check the user name", "401", BOTH),
    Fault("access forbidden", "refused access", "check the user name", "403", BOTH),
    Fault("the index fails", "the error 500", "wait, then run", "500", BOTH),
    Fault("the index is overloaded", "the error 503", "wait, then run", "503"),
    Fault("the address of another page", "does not have", "correct the address", "404", BOTH),
    Fault("a page to sign in", "does not have the pinned", "a page to sign in", "portal", BOTH),
    Fault("the pin is missing", "does not have the pinned tinypackage==1.0", "add an index",
          "other version", BOTH),
    Fault("what a pin needs is missing", "does not have nosuchpackage", "ask for it there",
          "misses another", BOTH),
    Fault("a hash does not match", "tinypackage==1.0 is not the file that was pinned",
          "do not install it", "wrong hash", BOTH),
    Fault("a damaged wheel", *DAMAGED, index="no zip", tools=BOTH),
    Fault("a wheel that is another one", *DAMAGED, index="misnamed"),
    Fault("no wheel for this system", "for this", "with `UV_PYTHON=3.12", "another system"),
    Fault("no wheel for this Python", "is not made for this Python", "UV_PYTHON=3.12",
          "another Python", BOTH),
    Fault("a source that is not built", "building it failed", "compiler", "cannot be built", BOTH),
    Fault("pins that conflict", "do not go together", "make lock", "conflicts", BOTH),
    Fault("a line that is no pin", "a line that names no package", "git checkout", tools=BOTH,
          pins="tinypackage=1.0\n"),
    Fault("conflicts of an update", "has conflicts", "run `make lock`", pins=CONFLICT),
    Fault("UV_OFFLINE", "UV_OFFLINE forbids", "unset UV_OFFLINE", env={"UV_OFFLINE": "1"}),
    Fault("UV_PYTHON of no such Python", "no Python that pyproject.toml allows", "install one",
          env={"UV_PYTHON": "3.99"}),
    Fault("UV_TORCH_BACKEND misspelt", "UV_TORCH_BACKEND is cuda99", "unset it",
          env={"UV_TORCH_BACKEND": "cuda99"}),
    Fault("no folder for the cache", "cache cannot be made", "UV_CACHE_DIR",
          env={"UV_CACHE_DIR": "/dev/null/cache"}),
    Fault("uv.toml is broken", "uv.toml cannot be read", "mend the line",
          harm=lambda project: (project / "uv.toml").write_text("index-url = [\n"),
          heal=lambda project: (project / "uv.toml").unlink()),
    Fault("pip's configuration is broken", "pip's configuration file cannot be read",
          "pip config debug", tools=("venv",), env={"PIP_CONFIG_FILE": "{tmp}/pip.conf"}),
    Fault("no uv, and no way to get it", *REACH,
          env={"PATH": "/usr/bin:/bin", "PIP_INDEX_URL": NOWHERE}),
    Fault("no conda", "conda was chosen for this project and is not installed",
          'environment = "uv"', tools=("conda",), heal=GOOD),
    Fault("requires-python of no Python", "no Python that pyproject.toml allows", "install one",
          harm=pyproject('[project]\nrequires-python = ">=3.98"\n'), heal=GOOD),
    Fault("pyproject.toml is broken", "pyproject.toml cannot be read", "mend that line",
          harm=pyproject("x = [\n"), heal=GOOD),
    Fault("pyproject.toml is of another form", "has tool as a value", "write a table",
          harm=pyproject("tool = 3\n"), heal=GOOD),
    Fault("no pyproject.toml", "pyproject.toml is missing", "git checkout pyproject.toml",
          harm=lambda project: (project / "pyproject.toml").unlink(), heal=GOOD),
    Fault("no requirements.txt", "requirements.txt is missing", "git checkout requirements.txt",
          harm=lambda project: (project / "requirements.txt").unlink(),
          heal=lambda project: (project / "requirements.txt").write_text(PIN)),
    Fault("an unknown tool", "environment = 'poetry'", "write one of uv, venv, conda",
          harm=pyproject('[tool.ml-template]\nenvironment = "poetry"\n'), heal=GOOD),
    Fault(".venv is a file", ".venv is in the way", "remove it",
          harm=lambda project: (project / ".venv").touch(),
          heal=lambda project: (project / ".venv").unlink()),
    Fault(".venv is a link to nowhere", ".venv is in the way", "remove it",
          harm=lambda project: (project / ".venv").symlink_to(project / "gone"),
          heal=lambda project: (project / ".venv").unlink()),
    Fault(".ml-template is a file", ".ml-template: ", "move it away",
          harm=lambda project: (project / ".ml-template").touch(),
          heal=lambda project: (project / ".ml-template").unlink()),
)  # fmt: skip
