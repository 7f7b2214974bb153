"""What an organisation decides for all its projects: nothing, until it has an `organisation.yml`.

settings.py reads and checks that file, and is imported only where there is one;
docs/organisations.md describes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

FILE = "organisation.yml"
FOLDER = "{{organisation}}"
"""Below template/: the files of the organisation, in every project."""
PROPRIETARY = "LicenseRef-Proprietary"


class Fixed(NamedTuple):
    """The one answer of a question that is no longer put."""

    value: Any
    reason: str


class Licence(NamedTuple):
    """A choice of the question `license`."""

    label: str
    spdx: str
    """What the package's metadata say: an SPDX identifier or `LicenseRef-…`."""


class Index(NamedTuple):
    """A package index; the address holds no user and no password."""

    name: str
    url: str
    default: bool
    """Asked instead of PyPI; else before it."""


@dataclass(frozen=True)
class Organisation:
    """The checked settings; each is empty where the file does not say."""

    name: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Fixed] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    recommended: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rows: Mapping[str, Sequence[Mapping[str, str]]] = field(default_factory=dict)
    """Of the estimate's tables, by table; see tables.py."""
    licences: Mapping[str, Licence] = field(default_factory=dict)
    indexes: Sequence[Index] = ()

    def fixed_problem(self, key: str, value: Any) -> str:
        """Why a question cannot be answered so, or nothing."""
        if key not in self.fixed or value == self.fixed[key].value:
            return ""
        return f"{self.name} fixes it to {shown(self.fixed[key].value)}: {self.fixed[key].reason}"

    def spdx(self, license: str) -> str:
        """What the package's metadata call a licence."""
        if license in self.licences:
            return self.licences[license].spdx
        return PROPRIETARY if license == "proprietary" else license


def shown(value: Any) -> str:
    """An answer as it is typed: `[wandb, mlflow]`, `true`, `100`."""
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
