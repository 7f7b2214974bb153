"""Loading the model that a reference names, unless it is the one which answers already."""

from __future__ import annotations

import hashlib
from pathlib import Path
from weakref import WeakKeyDictionary

from .engine import Runner
from .metrics import Metrics
from .project import weights_digest
from .settings import ServeSettings, model_folder

# beside the weights, what a model's answers depend on: labels, vocabulary, chat template
SETTINGS = {".json", ".jinja", ".model", ".txt"}


class Loader:
    """Makes runners, and remembers from what; called from one thread."""

    def __init__(self, settings: ServeSettings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._made_from: WeakKeyDictionary[Runner, str] = WeakKeyDictionary()

    def __call__(self, reference: str, current: Runner | None = None) -> Runner:
        """Load the model; `current` itself where it is the same and works. Raises UserError."""
        from .runner import load_runner  # may import the framework: /healthz answers meanwhile

        folder = model_folder(reference)
        settings = _settings_of(folder)  # before the rest is read: what is written later is new
        if (
            current is not None
            and not current.stalled()
            and self._made_from.get(current) == settings
            and weights_digest(folder) == current.info.digest
        ):
            return current
        runner = load_runner(folder, self._settings, self._metrics)
        self._made_from[runner] = settings
        return runner


def _settings_of(folder: Path) -> str:
    """Hash of the small files."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in SETTINGS and file.is_file():
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.name} {content}\n".encode())
    return digest.hexdigest()
