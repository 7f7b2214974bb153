"""ONNX Runtime: where a graph runs, and with how many threads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime

from .errors import ConfigError

PLAIN, OPTIMIZED, INT8 = "model.onnx", "model_optimized.onnx", "model_int8.onnx"
REPORT = "export.json"
ENGINES = "engines"  # what TensorRT built, in the folder of the graph
CPU, CUDA, TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))
_ERRORS_ONLY = 3


def open_session(
    file: Path, device: str = "auto", threads: int = 0, tensorrt: Mapping[str, Any] | None = None
) -> onnxruntime.InferenceSession:
    """Open a graph on `device`: auto, cpu, cuda, cuda:1, tensorrt or tensorrt:1.

    0 threads: one for each core. `tensorrt` are more options of TensorRT's provider. Raises
    ConfigError where this machine has no such device.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    # a plan of the memory is kept for each shape that is met, and texts have thousands
    options.enable_mem_pattern = False
    providers = _providers(file, device, tensorrt or {})
    session = onnxruntime.InferenceSession(str(file), options, providers=providers)
    wanted = providers[0][0]
    if device != "auto" and wanted not in session.get_providers():
        # ONNX Runtime goes on without a provider whose libraries it cannot load
        raise ConfigError(
            f"device {device}: ONNX Runtime cannot load what it needs of it; install the CUDA, "
            "cuDNN or TensorRT libraries that this onnxruntime-gpu was built for, or choose cpu"
        )
    return session


def _providers(file: Path, device: str, tensorrt: Mapping[str, Any]) -> list[tuple[str, Any]]:
    available = onnxruntime.get_available_providers()
    if device == "auto":
        device = "cuda" if CUDA in available else "cpu"
    if device == "cpu":
        return [(CPU, {})]
    match = re.fullmatch(r"(cuda|tensorrt)(?::(\d+))?", device)
    if match is None:
        raise ConfigError(
            f"device {device}: ONNX Runtime is used here on auto, cpu, cuda, cuda:1 and tensorrt"
        )
    number = {"device_id": int(match[2] or 0)}
    wanted = CUDA if match[1] == "cuda" else TENSORRT
    if wanted not in available:
        raise ConfigError(
            f"device {device}: this ONNX Runtime was built without it; on a machine with an NVIDIA "
            "GPU install onnxruntime-gpu in place of onnxruntime, or choose cpu"
        )
    if wanted == CUDA:
        return [(CUDA, number), (CPU, {})]
    engines = {
        **number,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(file.parent / ENGINES),
        **tensorrt,
    }
    # CUDA for the operators that TensorRT leaves out
    return [(TENSORRT, engines), (CUDA, number), (CPU, {})]
