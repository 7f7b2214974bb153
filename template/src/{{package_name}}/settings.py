"""How configuration is read: YAML file(s), then environment, then command line.

Each later source wins. Every key is known: a misspelt one is refused with the nearest
name, and every complaint says where the value came from.
"""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from .errors import ConfigError
from .redaction import brief, redacted

ENV_PREFIX = f"{(__package__ or 'project').upper()}__"


class Section(BaseModel):
    """A group of keys. Unknown keys are errors; docstrings become the JSON schema's help."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )


class Settings(BaseSettings):
    """Base of a configuration whose fields are `Section`s."""

    model_config = SettingsConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        protected_namespaces=(),
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_parse_none_str="null",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what the constructor is given: `load` merges the sources and keeps their origin."""
        return (init_settings,)

    @classmethod
    def load(
        cls, argv: Sequence[str] | None = None, parser: argparse.ArgumentParser | None = None
    ) -> tuple[Self, argparse.Namespace]:
        """Read `--config FILE`(s), the environment and `--section.key value` pairs.

        `parser` may hold a script's own options; its parsed namespace is returned beside
        the configuration. Raises ConfigError with one line per problem.
        """
        parser = parser or ArgumentParser()
        parser.add_argument(
            "--config", action="append", default=None, metavar="FILE", help="YAML file; repeatable"
        )
        _add_keys(parser, cls)
        options = vars(parser.parse_args(argv))
        sources: list[tuple[str, dict[str, Any]]] = [
            (path, _sections(cls, path, read_yaml(Path(path)))) for path in options["config"] or []
        ]
        environment = _sections(cls, "the environment", _from_environment(cls))
        sources.append(("the environment", environment))
        sources.append(("the command line", _from_options(options)))
        merged: dict[str, Any] = {}
        for _, values in sources:
            merged = _deep_merge(merged, values)
        script_options = {k: v for k, v in options.items() if "." not in k}
        return cls.checked(merged, sources), argparse.Namespace(**script_options)

    @classmethod
    def checked(
        cls, values: dict[str, Any], sources: Sequence[tuple[str, dict[str, Any]]] = ()
    ) -> Self:
        """Validate; pydantic's report becomes one line per problem with its origin.

        A value that holds a secret is refused, as runs keep their configuration and show it.
        """
        for key, value in flat(values).items():
            if redacted(str(value)) != str(value):
                origin = _origin(key.split("."), sources)
                raise ConfigError(
                    f"{f'{origin}: ' if origin else ''}`{key}` holds a password or a key, and "
                    "config.yaml is no place for one; set it in the environment (.env.example "
                    "says how)"
                )
        try:
            return cls(**values)
        except ValidationError as error:
            problems = error.errors()
            missing = [".".join(map(str, p["loc"])) for p in problems if p["type"] == "missing"]
            if missing and not values:
                raise ConfigError(
                    f"nothing sets {', '.join(missing)}; name a configuration, such as "
                    "`--config configs/train.yaml`"
                ) from None
            lines = [_explain(cls, problem, sources) for problem in problems]
            raise ConfigError("\n       ".join(lines)) from None

    def write_yaml(self, path: Path) -> None:
        """Write every key with its value, so that the file alone repeats the run."""
        path.write_text(
            yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
            encoding="utf-8",
        )


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Adds the default to an option's help, unless it says it already or there is none."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", action.default
        none = default is None or default is False or default is argparse.SUPPRESS
        if none or not action.option_strings or "default" in text:
            return text
        words = " ".join(map(str, default)) if isinstance(default, list) else str(default)
        return f"{text} (default: {words.replace('%', '%%')})"


class ArgumentParser(argparse.ArgumentParser):
    """argparse whose errors are ConfigErrors that name the nearest option."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", _HelpFormatter)
        super().__init__(allow_abbrev=False, **kwargs)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: D102
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = [option for action in self._actions for option in action.option_strings]
            name = unknown[0].split("=")[0]
            raise ConfigError(f"unknown option `{name}` on the command line{_nearest(name, known)}")
        return parsed

    def error(self, message: str) -> NoReturn:  # noqa: D102
        raise ConfigError(f"{message}; `--help` lists the options")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping. Raises ConfigError naming file and line."""
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; `ls configs` shows what there is") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; name a YAML file in it") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "this is not YAML"
        raise ConfigError(f"{where}: {problem}; mend the YAML there") from None
    except (ValueError, RecursionError) as error:  # a day that does not exist, endless nesting
        raise ConfigError(f"{brief(repr(str(path)))} cannot be read: {error}; mend it") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(
            f"{path}: expected `section: {{key: value}}`, got {type(loaded).__name__}"
        )
    return loaded


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice (YAML would keep the last in silence)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a key must be plain text", problem_mark=key_node.start_mark
                )
            if key_node.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"`{key_node.value}` is given twice", problem_mark=key_node.start_mark
                )
            seen.add(str(key_node.value))
        return super().construct_mapping(node, deep)


def dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, description) of every leaf below `model`."""
    for name, field in model.model_fields.items():
        nested = _section_of(field.annotation)
        if nested:
            yield from dotted_keys(nested, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.description or ""


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of nested values, by dotted key."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def _section_of(annotation: Any) -> type[BaseModel] | None:
    is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_section else None


def _add_keys(parser: argparse.ArgumentParser, model: type[BaseModel]) -> None:
    group = parser.add_argument_group("configuration keys (override the files)")
    for key, description in dotted_keys(model):
        help_text = " ".join(description.split()).replace("%", "%%")
        group.add_argument(
            f"--{key}", dest=key, default=argparse.SUPPRESS, metavar="VALUE", help=help_text
        )


def _from_options(options: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, text in options.items():
        if "." in key:
            _set(values, key.split("."), _parse_option(text))
    return values


def _parse_option(text: str) -> Any:
    """`null` and `[a, b]` as in YAML; all else stays text, which pydantic converts by type."""
    if text in {"null", "none"}:
        return None
    if text.startswith("["):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            return text
    return text


def _from_environment(cls: type[Settings]) -> dict[str, Any]:
    """Nested values from `<PREFIX>SECTION__KEY`; a misspelt one is refused like any other."""
    prefix = str(cls.model_config["env_prefix"])
    known = {f"{prefix}{key.replace('.', '__')}".upper() for key, _ in dotted_keys(cls)}
    known |= {f"{prefix}{name}".upper() for name in cls.model_fields}
    for name in os.environ:
        if name.upper().startswith(prefix) and name.upper() not in known:
            raise ConfigError(f"unknown environment variable {name}{_nearest(name, sorted(known))}")
    try:
        return dict(EnvSettingsSource(cls)())
    except SettingsError as error:
        raise ConfigError(f"environment: {error}; write lists as JSON") from None


def _sections(cls: type[Settings], origin: str, values: dict[str, Any]) -> dict[str, Any]:
    """Check that sections hold pairs: merging must not drop a whole one for a slip of the pen."""
    sections: dict[str, Any] = {}
    for key, value in values.items():
        if key in cls.model_fields and not isinstance(value, Mapping | None):
            raise ConfigError(
                f"{origin}: `{key}` must hold `key: value` pairs, got {brief(repr(value), 80)}"
            )
        # all its keys commented out: an empty section
        sections[str(key)] = {} if value is None and key in cls.model_fields else value
    return sections


def _set(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
    values[path[-1]] = value


def _deep_merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(merged.get(key), Mapping) and isinstance(value, Mapping)
        merged[key] = _deep_merge(merged[key], value) if both else value
    return merged


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean `{close[0]}`?" if close else "; `--help` lists the keys"


def _explain(
    cls: type[BaseModel], problem: Any, sources: Sequence[tuple[str, dict[str, Any]]]
) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    origin = _origin(location, sources)
    prefix = f"{origin}: " if origin else ""
    if problem["type"] == "extra_forbidden":
        keys = [name for name, _ in dotted_keys(cls)]
        candidates = keys + sorted({name.split(".")[0] for name in keys})
        return f"{prefix}unknown key `{key}`{_nearest(key, candidates)}"
    if problem["type"] == "missing":
        return f"`{key}` is not set; set it in the configuration file or with --{key}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return f"{prefix}{message}"
    got = brief(repr(problem["input"]), 80)
    return f"{prefix}`{key}`: {message[0].lower()}{message[1:]}, got {got}"


def _origin(location: Sequence[str], sources: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """The last source that gives this key (the one whose value was used)."""
    for name, values in reversed(sources):
        node: Any = values
        for part in location:
            if not isinstance(node, Mapping) or part not in node:
                break
            node = node[part]
        else:
            return name
    return ""
