"""Rename a key in a YAML text and touch nothing else: comments, order, quotes, line ends stay.

PyYAML, which Copier itself needs, says where a key stands; the text is cut there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import yaml


class AmbiguousError(Exception):
    """A text that a program should not edit, and what a person should do, in one sentence."""


@dataclass(frozen=True)
class Entry:
    """One `key: value` of a text."""

    section: yaml.MappingNode
    key: yaml.ScalarNode
    value: yaml.Node

    @property
    def line(self) -> int:
        """Counted from 1."""
        return int(self.key.start_mark.line) + 1


def find(text: str, dotted: str) -> Entry | None:
    """Return the entry of a key such as `limits.max_inputs`, or None. Raises AmbiguousError."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        reason = getattr(error, "problem", None) or "it is not valid YAML"
        raise AmbiguousError(f"cannot be read ({reason})") from None
    found = None
    for name in dotted.split("."):
        if not isinstance(node, yaml.MappingNode):
            return None
        entries = [(key, value) for key, value in node.value if key.value == name]
        if len(entries) > 1:
            raise AmbiguousError(f"holds {dotted} twice; delete one")
        if not entries:
            return None
        found = Entry(node, *entries[0])
        node = found.value
    return found


def value_text(text: str, entry: Entry) -> str:
    """Return a value as written. Raises AmbiguousError for several lines or an anchor."""
    start, end = entry.value.start_mark, entry.value.end_mark
    written = text[start.index : end.index].rstrip()
    # an alias stands where its anchor is
    elsewhere = start.line != entry.key.start_mark.line
    if elsewhere or "\n" in written or written.startswith(("&", "*", "!")):
        raise AmbiguousError("has a value of several lines or with an anchor there")
    return written


def with_value(text: str, dotted: str, value: str) -> str:
    """Return the text with another value of a key that is there. Raises AmbiguousError."""
    entry = find(text, dotted)
    if entry is None:
        raise AmbiguousError(f"has no {dotted}")
    start = entry.value.start_mark.index
    return text[:start] + value + text[start + len(value_text(text, entry)) :]


def renamed(text: str, old: str, new: str) -> str:
    """Return the text with the key renamed, in another section if its path says so.

    Returns it as it is where the key is not there. Raises AmbiguousError.
    """
    entry = find(text, old)
    if entry is None:
        return text
    if text[entry.section.start_mark.index] in "&!":  # what refers to it would change too
        raise AmbiguousError(f"has an anchor on the section of {old}")
    other = find(text, new)
    if other is not None:
        if value_text(text, entry) != value_text(text, other):
            raise AmbiguousError(
                f"sets {old} (line {entry.line}) and {new} (line {other.line}), its name now; "
                "keep the one you mean"
            )
        return _without(text, entry)
    *old_path, _ = old.split(".")
    *new_path, name = new.split(".")
    if old_path == new_path:
        key = entry.key
        written = text[key.start_mark.index : key.end_mark.index]
        return (
            text[: key.start_mark.index]
            + written.replace(str(key.value), name)
            + text[key.end_mark.index :]
        )
    value_text(text, entry)  # refuses what cannot be moved
    line = _line(text, entry).strip()
    moved = name + line[len(text[entry.key.start_mark.index : entry.key.end_mark.index]) :]
    comments = [comment.strip() for comment in _comments_above(text, entry)]
    result = _inserted(_without(text, entry), new_path, [*comments, moved])
    try:
        yaml.compose(result)
    except yaml.YAMLError:  # as behind `...`, which ends a document
        raise AmbiguousError(f"has no place for the section {new_path[0]}") from None
    return result


def _without(text: str, entry: Entry) -> str:
    """Cut the lines of an entry, its comments, and its section if nothing is left in it."""
    if entry.section.flow_style:
        raise AmbiguousError(f"has {entry.key.value} within braces (line {entry.line})")
    lines = text.splitlines(keepends=True)
    first = entry.line - 1 - len(_comments_above(text, entry))
    if len(entry.section.value) == 1:
        while first > 0 and not lines[first - 1].strip():
            first -= 1
        first = max(0, first - 1)  # the section's own line
        if lines[first].lstrip().startswith("#"):
            raise AmbiguousError(
                f"would lose a comment above {entry.key.value} (line {entry.line})"
            )
        if not lines[first].rstrip().endswith(":"):
            raise AmbiguousError(f"would lose what stands behind a colon (line {first + 1})")
    return "".join(lines[:first] + lines[entry.line :])


def _inserted(text: str, path: Sequence[str], new: Sequence[str]) -> str:
    """Add lines at the end of a section, or a new section at the end."""
    end = "\r\n" if "\r\n" in text else "\n"
    if len(path) != 1:
        raise AmbiguousError(f"needs a section {'.'.join(path)}")
    if text and not text.endswith("\n"):
        text += end
    section = find(text, path[0])
    if section is None:
        gap = end if text.strip() and not text.endswith(end * 2) else ""
        return text + gap + f"{path[0]}:{end}" + "".join(f"  {line}{end}" for line in new)
    mapping = section.value
    if not isinstance(mapping, yaml.MappingNode) or mapping.flow_style or not mapping.value:
        raise AmbiguousError(f"has no plain section {path[0]} to write to")
    lines = text.splitlines(keepends=True)
    last_key, last_value = mapping.value[-1]
    at = last_value.end_mark.line + (1 if last_value.end_mark.column else 0)
    indent = " " * last_key.start_mark.column
    return "".join([*lines[:at], *(f"{indent}{line}{end}" for line in new), *lines[at:]])


def _line(text: str, entry: Entry) -> str:
    return text.splitlines(keepends=True)[entry.line - 1]


def _comments_above(text: str, entry: Entry) -> list[str]:
    """Return the comment lines right above an entry, indented as it is."""
    lines = text.splitlines(keepends=True)
    indent = " " * entry.key.start_mark.column
    found: list[str] = []
    for line in reversed(lines[: entry.line - 1]):
        if not line.startswith(f"{indent}#"):
            break
        found.insert(0, line)
    return found
