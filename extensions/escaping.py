"""Filters which write an answer into a file so that it stays a text, whatever it contains.

| filter | writes | for |
|---|---|---|
| `toml_string` `yaml_string` `json_string` | a quoted string | pyproject.toml, *.yaml, *.json |
| `py_string` | a quoted string as ruff would format it | *.py |
| `shell_string` | one word of a shell command | *.sh, `run:` of CI files |
| `docker_string` | a quoted string without `$` expansion | LABEL and ENV of a Dockerfile |
| `make_text` | text without `$` and `#` meanings | a Makefile |
| `md_text` | text without markup | *.md |
| `html_text` | text without tags and entities | *.html |
| `one_line` | text without line breaks | after a comment sign |
"""

from __future__ import annotations

import html
import re
import shlex
import unicodedata
from collections.abc import Callable


def toml_string(text: object) -> str:
    """Return a TOML basic string."""
    return _double_quoted(str(text), wide=_u8)


def yaml_string(text: object) -> str:
    """Return a YAML double-quoted scalar."""
    return _double_quoted(str(text), wide=_u8)


def json_string(text: object) -> str:
    """Return a JSON string."""
    return _double_quoted(str(text), wide=_surrogates)


def py_string(text: object) -> str:
    """Return a Python literal, in double quotes unless single ones need fewer escapes (as ruff)."""
    value = str(text)
    quoted = _double_quoted(value, wide=_u8)
    if value.count('"') > value.count("'"):
        body = quoted[1:-1].replace('\\"', '"').replace("'", "\\'")
        return f"'{body}'"
    return quoted


def shell_string(text: object) -> str:
    """Return one word for a POSIX shell."""
    return shlex.quote(str(text))


def docker_string(text: object) -> str:
    """Return a double-quoted string in which Docker expands nothing."""
    return _double_quoted(str(text), wide=_u8).replace("$", "\\$")


def make_text(text: object) -> str:
    """Return text for a Makefile: no variable, no comment, one line."""
    return one_line(text).replace("$", "$$").replace("#", "\\#")


def md_text(text: object) -> str:
    """Return text that Markdown shows as it is."""
    escaped = re.sub(r"([\\`*_\[\]<>#|~$])", r"\\\1", one_line(text))
    # at the start: a rule, a list, an underlined heading
    escaped = re.sub(r"^(?=[-+=])|^(\d{1,9})(?=[.)](?:\s|$))", r"\1\\", escaped)
    return re.sub(r"&(?=#?\w+;)", r"\\&", escaped)


def html_text(text: object) -> str:
    """Return text for an HTML element or a quoted attribute."""
    return html.escape(str(text))


def one_line(text: object) -> str:
    """Return the text with every run of blanks and control characters as one space."""
    return " ".join("".join(" " if _unprintable(c) else c for c in str(text)).split())


FILTERS: dict[str, Callable[..., str]] = {
    function.__name__: function
    for function in (
        toml_string,
        yaml_string,
        json_string,
        py_string,
        shell_string,
        docker_string,
        make_text,
        md_text,
        html_text,
        one_line,
    )
}


def _unprintable(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _double_quoted(text: str, wide: Callable[[str], str]) -> str:
    def escape(char: str) -> str:
        if char in '"\\':
            return "\\" + char
        if not _unprintable(char):
            return char
        return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else wide(char)

    return '"' + "".join(map(escape, text)) + '"'


def _u8(char: str) -> str:
    return f"\\U{ord(char):08x}"


def _surrogates(char: str) -> str:
    units = char.encode("utf-16-be").hex()
    return f"\\u{units[:4]}\\u{units[4:]}"
