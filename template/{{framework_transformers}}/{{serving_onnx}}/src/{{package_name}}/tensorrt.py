"""TensorRT, through ONNX Runtime: engines for one kind of GPU, and how to build them elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from .errors import UserError
from .onnx_session import ENGINES, PLAIN, REPORT, TENSORRT, open_session
from .runs import read_json

USUAL_BATCH, MAX_BATCH = 8, 64
USUAL_LENGTH = 128
BOUNDS = ("min", "opt", "max")


def is_available() -> bool:
    """Whether this ONNX Runtime was built with TensorRT."""
    return TENSORRT in onnxruntime.get_available_providers()


def shapes(folder: Path) -> dict[str, str]:
    """The sizes that an engine is built for, as options of ONNX Runtime's provider."""
    return {f"trt_profile_{bound}_shapes": _shapes(folder, bound) for bound in BOUNDS}


def _shapes(folder: Path, bound: str) -> str:
    """Least, usual or largest sizes of the inputs: `input_ids:8x128,attention_mask:8x128`."""
    return ",".join(
        f"{name}:" + "x".join(map(str, sizes)) for name, sizes in _sizes(folder, bound).items()
    )


def _sizes(folder: Path, bound: str) -> dict[str, list[int]]:
    report = read_json(folder / REPORT)
    shortest, longest = report["lengths"] or (0, 0)
    batch = {"min": 1, "opt": USUAL_BATCH, "max": MAX_BATCH}[bound]
    usual = max(shortest, min(USUAL_LENGTH, longest))
    length = {"min": shortest, "opt": usual, "max": longest}[bound]
    free = {"batch": batch, "length": length}
    return {name: [free.get(size, size) for size in of] for name, of in report["inputs"].items()}


def fits(folder: Path, inputs: Mapping[str, np.ndarray]) -> bool:
    """Whether the engines are built for inputs of these sizes."""
    least, most = _sizes(folder, "min"), _sizes(folder, "max")
    return all(
        low <= size <= high
        for name in least
        for low, size, high in zip(least[name], inputs[name].shape, most[name], strict=True)
    )


def build_engines(folder: Path) -> onnxruntime.InferenceSession:
    """Let TensorRT build its engines for this machine's GPU beside the graph; takes minutes.

    Returns a session that uses them. Raises UserError where it cannot.
    """
    (folder / ENGINES).mkdir(exist_ok=True)
    session = open_session(folder / PLAIN, "tensorrt", tensorrt=shapes(folder))
    types = {"tensor(int64)": np.int64, "tensor(float)": np.float32}
    sizes = _sizes(folder, "opt")
    session.run(
        None,
        {each.name: np.ones(sizes[each.name], types[each.type]) for each in session.get_inputs()},
    )
    if not any((folder / ENGINES).iterdir()):
        raise UserError("TensorRT took no part of the graph; serve the ONNX export with cuda")
    return session


def command(folder: Path) -> str:
    """What builds an engine with TensorRT alone, where its tools are installed."""
    return shlex.join(
        [
            "trtexec",
            f"--onnx={folder / PLAIN}",
            *(f"--{bound}Shapes={_shapes(folder, bound)}" for bound in BOUNDS),
            f"--saveEngine={folder / 'model.engine'}",
        ]
    )
