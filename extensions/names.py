"""Names and one-line texts: what a person may write, and what follows from it.

Each `…_problem` returns one sentence saying what is wrong and what would do, or an empty text.
Each `as_…` returns a value for which the `…_problem` of the same kind is empty.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Collection, Set
from functools import cache
from pathlib import Path

TITLE_CHARACTERS = 60
SLUG_CHARACTERS = 50
FALLBACK_TITLE = "ML project"

_BLANKS_AND_JOINERS = re.compile(r"[\s_\-./\\]+")
_TITLE_FORBIDDEN = '/\\{}<>|`$"%'
_EMAIL = re.compile(r"[A-Za-z0-9.!#&'*+/=?^_~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_LOCAL_PATH = re.compile(r"(?:\.{1,2}/|~/|/|[A-Za-z]:/)[\w./+@=,-]*")

_FACT_NUMBERS = ("rows", "mean_tokens", "p95_tokens")
_FACT_TEXTS = ("text_column", "label_column", "media_column", "eval")

# Letters that Unicode does not take apart into a letter and an accent.
_LETTERS = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "\u0131": "i"}
)

# Folders of a generated project or of build tools, and names which Windows keeps for devices.
_FOLDERS = (
    "build configs data deploy dist docs env inference models notebooks scripts src test tests venv"
)
_YAML = "false n no null off on true y yes"  # no texts where nobody quotes them
_WINDOWS = "aux con nul prn " + " ".join(f"com{n} lpt{n}" for n in range(10))
# Packages whose import name is not the name that the locks know, or which later choices bring.
_IMPORTS = (
    "bitsandbytes cv2 dateutil dotenv flax jax jaxlib keras mlflow modal onnx onnxruntime optax "
    "pil pip pkg-resources sagemaker scipy sklearn tensorflow timm torchaudio torchvision triton "
    "trl uv wandb wheel yaml"
)


def as_source(address: str) -> str:
    """Return where a template is as an update, which starts elsewhere, can read it.

    A relative path becomes a full one; full paths and addresses stay.
    """
    is_path = address and not re.match(r"~|/|[\w.+@-]+:", address)
    return str(Path(address).resolve()) if is_path and Path(address).exists() else address


def title_problem(title: str) -> str:
    """Check `project_name`."""
    problem = line_problem(title, TITLE_CHARACTERS)
    if problem:
        return problem
    found = "".join(sorted(set(title) & set(_TITLE_FORBIDDEN)))
    if found:
        return f"{found} cannot stand in a project's name; write words, such as Ticket router"
    if not any(char.isalnum() for char in title):
        return "a name needs a letter or a digit, such as Ticket router"
    return ""


def as_title(folder: str) -> str:
    """Return a title for a folder: `ticket-router` becomes `Ticket router`."""
    words = "".join(
        char
        for char in _BLANKS_AND_JOINERS.sub(" ", folder)
        if char.isalnum() or char == " " or unicodedata.category(char).startswith("M")
    )
    words = words.strip()[:TITLE_CHARACTERS].strip()
    title = words[:1].upper() + words[1:]
    return FALLBACK_TITLE if title_problem(title) else title


def line_problem(text: str, characters: int, required: bool = True) -> str:
    """Check a text that stands on one line of several kinds of file."""
    if not text.strip():
        return "it is empty; write at least one word" if required else ""
    if len(text) > characters:
        return f"it has {len(text)} characters; write at most {characters}"
    if text != text.strip():
        return "it begins or ends with a blank; remove it"
    for char in text:
        category, code = unicodedata.category(char), f"U+{ord(char):04X}"
        if category in ("Cc", "Zl", "Zp"):
            return f"it contains a line break or control character ({code}); write one line"
        if category in ("Cf", "Cs", "Co", "Cn"):
            return f"it contains an invisible character ({code}); remove it"
    return ""


def as_line(text: str, characters: int, otherwise: str = "") -> str:
    """Return the text where it is fit, else `otherwise`: for values that this machine supplied."""
    return otherwise if line_problem(text, characters) else text


def email_problem(address: str) -> str:
    """Check `author_email`."""
    if address and (len(address) > 254 or not _EMAIL.fullmatch(address)):
        return "that is not an address; write one such as ada@example.org, or nothing"
    return ""


def as_email(address: str) -> str:
    """Return the address where it is one, else nothing."""
    return "" if email_problem(address) else address


def model_problem(model: str) -> str:
    """Check the form of `base_model`: a hub id, a local path or `scratch`."""
    if model == "scratch" or (len(model) <= 300 and _LOCAL_PATH.fullmatch(model)):
        return ""
    if "://" in model:
        path = "/".join(model.split("://", 1)[1].split("/")[1:3])
        hub_id = path if _HUB_ID.fullmatch(path) else "org/name"
        return f"that is an address; write the hub id alone: {hub_id}"
    if "\\" in model:
        return "a backslash cannot stand here; write / instead"
    if "/" not in model and re.fullmatch(r"[\w.-]{1,96}", model, re.ASCII):
        return f"write the hub id with its organisation (org/{model}), or ./{model} for a folder"
    if not _HUB_ID.fullmatch(model) or ".." in model or "--" in model or model.endswith((".", "-")):
        return "write a hub id (org/name), a path of letters, digits and _-. (./folder), or scratch"
    return ""


def budget_problem(budget_usd: float) -> str:
    """Check `budget_usd`."""
    if not 0 <= budget_usd < 1e9:
        return "write an amount in US dollars, such as 100, or 0 if it is not known yet"
    return ""


def year_problem(year: int) -> str:
    """Check `copyright_year`."""
    return "" if 1900 <= year <= 9999 else "write a year, such as 2026"


def facts_problem(facts: object) -> str:
    """Check `data_facts`: what is read of it must be numbers and names of columns."""
    if not isinstance(facts, dict):
        return "write an object, such as {}"
    for key in _FACT_NUMBERS:
        number = facts.get(key, 1)
        if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < 10**12:
            return f"{key} is no number of rows or tokens; leave it out"
    for key in _FACT_TEXTS:
        text = facts.get(key, "text")
        if not isinstance(text, str) or line_problem(text.strip(), 200):  # `"text "` is a column
            return f"{key} is no name on one line; leave it out"
    return ""


def as_slug(title: str, taken: Set[str]) -> str:
    """Return a distribution name for a title: `Größe 2` becomes `grosse-2`."""
    plain = unicodedata.normalize("NFKD", title.casefold().translate(_LETTERS))
    slug = re.sub(r"[^a-z0-9]+", "-", "".join(c for c in plain if not unicodedata.combining(c)))
    slug = slug.strip("-")[: SLUG_CHARACTERS - len("ml--project")].strip("-")
    if not slug:
        return as_slug(FALLBACK_TITLE, taken)
    if slug[0].isdigit():
        slug = f"ml-{slug}"
    return f"{slug}-project" if slug in taken else slug


def slug_problem(slug: str, taken: Set[str]) -> str:
    """Check `project_slug`."""
    if len(slug) > SLUG_CHARACTERS:
        return f"it has {len(slug)} characters; write at most {SLUG_CHARACTERS}"
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", slug):
        nearest = as_slug(slug, taken)
        return f"write small letters, digits and single hyphens, a letter first: {nearest}"
    return _taken_problem(slug, slug in taken, f"{slug}-project")


def as_package(slug: str) -> str:
    """Return the import name for a distribution name."""
    return slug.replace("-", "_")


def package_problem(package: str, taken: Set[str]) -> str:
    """Check `package_name`."""
    if len(package) > SLUG_CHARACTERS:
        return f"it has {len(package)} characters; write at most {SLUG_CHARACTERS}"
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", package):
        nearest = as_package(as_slug(package, taken))
        return f"write small letters, digits and single underscores, a letter first: {nearest}"
    return _taken_problem(package, package.replace("_", "-") in taken, f"{package}_project")


def _taken_problem(name: str, is_taken: bool, nearest: str) -> str:
    if not is_taken:
        return ""
    lists = {
        "a word of Python": [*keyword.kwlist, *keyword.softkwlist],
        "a folder of the project": _FOLDERS.split(),
        "a name that Windows keeps for itself": _WINDOWS.split(),
        "a word of YAML": _YAML.split(),
        "a module of Python": _standard_library(),
    }
    same = name.lower().replace("-", "_")
    holders = (what for what, words in lists.items() if same in map(str.lower, words))
    what = next(holders, "a package that this project may install")
    return f"{name} is already {what}; {nearest} is free"


def taken(packages: Collection[str]) -> frozenset[str]:
    """Return all names that a project may not have; `packages` are those of the locks."""
    return _always_taken() | {re.sub(r"[-_.]+", "-", name).lower() for name in packages}


@cache
def _always_taken() -> frozenset[str]:
    words = [*keyword.kwlist, *keyword.softkwlist, *_FOLDERS.split(), *_WINDOWS.split()]
    words += _YAML.split()
    words += [*_IMPORTS.split(), *_standard_library()]
    return frozenset(word.lower().replace("_", "-") for word in words)


def _standard_library() -> list[str]:
    """Return the module names of Python 3.11 to 3.15.

    A file rather than `sys.stdlib_module_names`: an update that runs on a newer Python must not
    find that a project's name has become invalid.
    """
    return Path(__file__).with_name("standard_library.txt").read_text("utf-8").split()
