"""MLflow's registry behind the project's commands: registered models, versions and aliases."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import urlparse
from urllib.request import url2pathname

from . import registry
from .errors import ConfigError, UserError
from .mlflow_client import connect, experiment
from .redaction import brief
from .registry import Entry, Version
from .registry_local import RUN_FILES
from .runs import read_json
from .settings import read_yaml

T = TypeVar("T")

TAG = "ml_template"  # of a version: its fields; of a model: the history
LONGEST_TAG = 4900  # of a registered model, in MLflow 3
STEP = {"when", "by", "action", "alias", "from", "to"}  # of the history


def _plain(method: Callable[..., T]) -> Callable[..., T]:
    """MLflow's exceptions become one sentence."""

    @wraps(method)
    def call(*arguments: Any) -> T:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return method(*arguments)
        # ImportError: a database's driver that is not installed; OSError: its file, or no space
        except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:
            reason = brief(error, 300)
            raise UserError(f"MLflow's registry: {reason}; look at MLFLOW_TRACKING_URI") from None

    return call


class MlflowStore:
    """Versions are artifacts of a run; the server, or models/mlflow.db, keeps names and aliases."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @_plain
    def names(self) -> list[str]:
        """Every registered name that holds a version of ours."""
        found = _every(self._client.search_registered_models)
        return sorted(model.name for model in found if self._versions(model.name))

    @_plain
    def read(self, name: str) -> Entry:
        """What MLflow has under a name."""
        model = self._model(name)
        if model is None:
            return Entry()
        aliases = {alias: int(number) for alias, number in model.aliases.items()}
        history = _read_tag(model.tags.get(TAG, "[]"), name)
        if not isinstance(history, list) or not all(
            isinstance(step, dict) and step.keys() >= STEP for step in history
        ):
            raise _edited(name)
        return Entry(self._versions(name), aliases, history)

    @_plain
    def add(self, version: Version, folder: Path) -> Version:
        """Upload the files to the run that made them, or to one of their own."""
        name, client = version.name, self._client
        _refuse_other_server(folder.parent)
        if self._model(name) is None:
            client.create_registered_model(name)
        run_id = self._run(version, folder)
        place = f"{name}-{version.digest[:12]}"
        client.log_artifacts(run_id, str(folder), f"{place}/final")
        for file in RUN_FILES:
            if (folder.parent / file).is_file():
                client.log_artifact(run_id, str(folder.parent / file), place)
        source = f"{client.get_run(run_id).info.artifact_uri}/{place}/final"
        kept = {key: value for key, value in asdict(version).items() if key != "number"}
        tags = {TAG: json.dumps(kept)}
        made = client.create_model_version(name, source, run_id=run_id, tags=tags)
        return replace(version, number=int(made.version))

    @_plain
    def point(self, name: str, alias: str, number: int, history: Sequence[Any]) -> None:
        """Set the alias; the history is a tag, from which the oldest go when it is full."""
        steps = list(history)
        while len(json.dumps(steps)) > LONGEST_TAG:
            steps.pop(0)
        before = self._client.get_registered_model(name).tags.get(TAG, "[]")
        # the tag first: no alias moves that the history does not tell of
        self._client.set_registered_model_tag(name, TAG, json.dumps(steps))
        try:
            self._client.set_registered_model_alias(name, alias, str(number))
        except Exception:
            self._client.set_registered_model_tag(name, TAG, before)
            raise

    @_plain
    def folder(self, version: Version) -> Path:
        """The version's files: where they are, if on this machine; else downloaded once."""
        source = self._client.get_model_version(version.name, str(version.number)).source
        if source.startswith("file:"):
            return Path(url2pathname(urlparse(source).path))
        # by the digest: another server has other models under the same name and number
        kept = registry.FOLDER / ".downloads" / version.digest[:16]
        target = kept / f"{version.name}-{version.number}"
        if not target.is_dir():
            self._download(source.removesuffix("/final"), target)
        return target / "final"

    def _download(self, source: str, target: Path) -> None:
        """Into a folder of its own, then in one move: several processes may do it at once."""
        from mlflow.artifacts import download_artifacts

        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".", dir=target.parent) as folder:
            download_artifacts(
                artifact_uri=source, dst_path=folder, tracking_uri=self._client.tracking_uri
            )
            try:
                (Path(folder) / source.rpartition("/")[2]).rename(target)
            except OSError:
                if not target.is_dir():  # else another process was quicker
                    raise

    def _model(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _versions(self, name: str) -> list[Version]:
        ours = []
        for version in _every(self._client.search_model_versions, f"name='{name}'"):
            if TAG in version.tags:
                which = f"{name}@{version.version}"
                try:
                    kept = _read_tag(version.tags[TAG], which)
                    ours.append(Version(number=int(version.version), **kept))
                except TypeError:
                    raise _edited(which) from None
        return sorted(ours, key=lambda version: version.number)

    def _run(self, version: Version, folder: Path) -> str:
        from mlflow.exceptions import MlflowException

        known = read_json(folder.parent / "tracking.json").get("mlflow")
        if known:
            try:
                return str(self._client.get_run(known).info.run_id)
            except MlflowException:
                pass  # on another server
        place = experiment(self._client, __package__ or "training")
        run = self._client.create_run(place, run_name=f"register {version.name}")
        self._client.set_terminated(run.info.run_id)
        return str(run.info.run_id)


def open_store() -> MlflowStore:
    """The store of this project: a server by MLFLOW_TRACKING_URI, else models/mlflow.db."""
    return MlflowStore(_plain(connect)(None))


def _refuse_other_server(run: Path) -> None:
    """A run that was tracked on a server must not be registered on this machine unasked."""
    config = read_yaml(run / "config.yaml") if (run / "config.yaml").is_file() else {}
    server = config.get("tracking", {}).get("servers", {}).get("mlflow")
    if server and not os.environ.get("MLFLOW_TRACKING_URI"):
        raise ConfigError(
            f"{run} was tracked on {server}, and the registry's commands go by the environment; "
            f"set MLFLOW_TRACKING_URI={server}, or MODEL_REGISTRY=local for models/registry"
        )


def _every(search: Callable[..., Any], *arguments: str) -> Iterator[Any]:
    """What is found on all pages."""
    token = None
    while True:
        page = search(*arguments, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _read_tag(text: str, which: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise _edited(which) from None


def _edited(which: str) -> UserError:
    return UserError(
        f"MLflow's registry: the tag `{TAG}` of {which} was edited and cannot be read; put back "
        "its text, or delete the tag there"
    )
