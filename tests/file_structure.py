"""Whether a file with odd answers says what it says with plain ones, the answers apart.

Both are parsed. Everything must be equal but texts which hold a plain answer: there the odd one
must stand, as it was typed. So an answer that closes a quote, begins a key or adds a line is found
even where the file still parses.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Takes GitLab's `!reference`, and refuses a key given twice; libyaml's where it is there."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key is given twice: {keys}"
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


_Loader.add_constructor("!reference", lambda loader, node: node.value)


def parsed(path: str, text: str) -> Any:
    """Return what a file says, as lists and dicts of plain values; its lines where it has no form.

    Raises whatever the reader of such a file raises.
    """
    suffix = PurePosixPath(path).suffix
    if suffix == ".py":
        return _tree(ast.parse(text))
    if suffix == ".ipynb":
        notebook = json.loads(text)
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                code = re.sub(r"^%.*$", "pass", "".join(cell["source"]), flags=re.MULTILINE)
                cell["source"] = _tree(ast.parse(code))
        return notebook
    if suffix == ".json":
        return json.loads(text)
    if suffix == ".toml":
        return tomllib.loads(text)
    if suffix in (".yaml", ".yml"):
        return list(yaml.load_all(text, Loader=_Loader))
    if suffix == ".md":
        return _blocks(MarkdownIt("gfm-like", {"linkify": False}).disable("linkify").parse(text))
    return text.split("\n")


def difference(plain: Any, odd: Any, answers: Mapping[str, str], where: str = "") -> str:
    """Return where two parsed files differ beyond the answers (plain → odd); empty if nowhere."""
    if plain == odd:
        return ""
    if isinstance(plain, str) and odd in _versions(plain, answers):
        return ""
    if isinstance(plain, dict) and isinstance(odd, dict):
        keys = list(plain)
        if keys != list(odd):
            keys = [_versions(str(key), answers)[-1] for key in plain]
        if keys != list(odd):
            return f"{where}: the keys {list(plain)} became {list(odd)}"
        parts = zip(keys, plain.values(), odd.values(), strict=True)
    elif isinstance(plain, list) and isinstance(odd, list) and len(plain) == len(odd):
        parts = zip(map(str, range(len(plain))), plain, odd, strict=True)
    elif plain != plain and odd != odd:  # not a number, in both
        return ""
    else:
        return f"{where}: {str(plain)[:200]!r} became {str(odd)[:200]!r}"
    found = (difference(one, other, answers, f"{where}/{key}") for key, one, other in parts)
    return next(filter(None, found), "")


def _versions(plain: str, answers: Mapping[str, str]) -> list[str]:
    """Return the text with the answers in place, on one line and as they were typed."""
    if not any(sentinel in plain for sentinel in answers):
        return [plain]
    typed = lined = plain
    for sentinel, answer in answers.items():
        typed = typed.replace(sentinel, answer)
        lined = lined.replace(sentinel, " ".join(answer.split()))
    return [lined, typed]


def _blocks(tokens: Sequence[Token]) -> list[Any]:
    return [
        {
            "type": token.type,
            "tag": token.tag,
            "attributes": {key: str(value) for key, value in token.attrs.items()},
            "text": "" if token.children else token.content,
            "inside": _blocks(token.children or ()),
        }
        for token in tokens
    ]


def _tree(node: Any) -> Any:
    if isinstance(node, ast.AST):
        fields = {name: _tree(value) for name, value in ast.iter_fields(node)}
        return {"node": type(node).__name__, **fields}
    if isinstance(node, list):
        return [_tree(each) for each in node]
    return node
