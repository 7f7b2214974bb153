"""What scripts/export.py does for ONNX Runtime and TensorRT."""

from __future__ import annotations

import argparse
from pathlib import Path

from .config import load_config
from .errors import UserError
from .registry import output_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Let `parser` take the formats."""
    parser.add_argument(
        "--format",
        choices=("safetensors", "onnx", "tensorrt"),
        default="safetensors",
        help="for PyTorch, for ONNX Runtime, or for TensorRT in ONNX Runtime",
    )
    parser.add_argument(
        "--serve",
        choices=("plain", "optimized", "int8"),
        default="optimized",
        help="which of the ONNX files predicts; int8 is faster on a CPU and may lose accuracy",
    )


def export_graphs(model: Path, output: Path | None, form: str, serve: str) -> None:
    """Write ONNX graphs, measured on the run's own held-out rows; for TensorRT its engines too.

    Raises UserError where the engines cannot be built here; the graphs are then written.
    """
    from . import tensorrt
    from .onnx_export import export_onnx, table

    engines = form == "tensorrt" and tensorrt.is_available()
    output = output or output_folder(model) / f"export-{'tensorrt' if engines else 'onnx'}"
    kept = model.parent / "config.yaml"
    config = load_config(["--config", str(kept)]) if kept.is_file() else None
    report = export_onnx(model, output, config, serve, engines)
    print(table(report))
    measured = f"accuracy on {report.rows} held-out rows" if report.rows else "no held-out rows"
    print(f"exported to {output}; * predicts; {measured}; tolerance {report.tolerance:.1e}")
    if form == "tensorrt" and not engines:
        raise UserError(
            "TensorRT's engines were not built: they are made on a machine with the NVIDIA GPU "
            "that will use them, and the onnxruntime here has no TensorRT. There install TensorRT "
            "and onnxruntime-gpu in place of onnxruntime and run this command again, or with "
            f"TensorRT alone:\n{tensorrt.command(output)}"
        )
