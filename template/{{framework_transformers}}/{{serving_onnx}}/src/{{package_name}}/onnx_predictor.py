"""Prediction from an ONNX export, by ONNX Runtime in place of PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from transformers import AutoConfig

from . import loading
from .checkpoints import check_model
from .errors import ConfigError, UserError
from .identity import identity
from .model import AUTO_CLASS
from .onnx_session import ENGINES, PLAIN, REPORT, open_session
from .predictor import Predictor
from .pretrained import check_kind, load
from .processor import PROCESSOR_CLASS
from .redaction import brief
from .runs import read_json
from .tensorrt import shapes


class OnnxPredictor(Predictor):
    """A classifier in ONNX Runtime; all else is as in `Predictor`."""

    def __init__(self, session: Any, labels: list[str], processor: Any, *identity: str) -> None:
        self.session, self.processor, self.labels = session, processor, labels
        self.name, self.version, self.digest = identity

    @classmethod
    def load(cls, path: str | Path, device: str = "auto", threads: int = 0) -> Self:
        """Load what `export --format onnx` or `tensorrt` wrote. Raises UserError."""
        folder = Path(path)
        check_model(folder)
        on_tensorrt = device.startswith("tensorrt")
        if on_tensorrt and not (folder / ENGINES).is_dir():
            raise ConfigError(
                f"{folder} has no engines of TensorRT; build them on this machine: "
                "scripts/export.py --format tensorrt"
            )
        file = folder / (PLAIN if on_tensorrt else served(folder))
        more = shapes(folder) if on_tensorrt else None
        try:
            session = open_session(file, device, threads, more)
        except UserError:
            raise
        except Exception as error:  # its errors share no class of their own
            reason = brief(error)
            raise UserError(f"{file} cannot be loaded ({reason}); export it anew") from None
        model_config = load(AutoConfig, str(folder))
        check_kind(AUTO_CLASS, folder, model_config)
        names = model_config.id2label
        labels = [names[i] for i in range(len(names))]
        name = identity(folder, _weights(file))
        return cls(session, labels, load(PROCESSOR_CLASS, str(folder)), *name)

    def _logits(self, encoded: dict[str, torch.Tensor]) -> torch.Tensor:
        return run_session(self.session, encoded)


def run_session(session: Any, encoded: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Scores before the softmax, (B, classes). Raises RuntimeError, as PyTorch does."""
    # a graph lacks an input that its model does not use
    batch = {each.name: encoded[each.name].numpy() for each in session.get_inputs()}
    try:
        return torch.from_numpy(session.run(None, batch)[0])
    except Exception as error:  # its own errors are none of Python's
        raise RuntimeError(str(error)) from error


def is_onnx(folder: Path) -> bool:
    """Whether a folder holds an ONNX export."""
    return (folder / PLAIN).is_file()


def load_predictor(path: Path, device: str = "auto", threads: int = 0) -> Predictor:
    """Load an ONNX export into ONNX Runtime, any other model into PyTorch. Raises UserError.

    0 threads leave their number to either.
    """
    if is_onnx(path):
        return OnnxPredictor.load(path, device, threads)
    return loading.load_predictor(path, device, threads)


def digest(path: Path) -> str:
    """Hash of the weights in a folder, as its predictor would have it. Raises UserError."""
    if not is_onnx(path):
        return loading.digest(path)
    check_model(path)
    return identity(path, _weights(path / served(path)))[2]


def served(folder: Path) -> str:
    """The file that predicts, of the export's three."""
    return str(read_json(folder / REPORT).get("serve", PLAIN))


def _weights(file: Path) -> list[Path]:
    more = file.with_name(f"{file.name}.data")  # where there are more than 2 GB
    return [file, more] if more.is_file() else [file]
