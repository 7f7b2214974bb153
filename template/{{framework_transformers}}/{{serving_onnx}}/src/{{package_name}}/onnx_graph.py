"""From a PyTorch model to an ONNX graph, and the graph's optimised and int8 variants."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from .errors import UserError
from .redaction import brief

# the first with GELU as one operator; what TensorRT 10 reads
OPSET = 20
LARGE_BYTES = 1_800_000_000  # a file of protobuf ends at 2 GB: larger weights get one beside it
FREE = ("batch", "length")  # names of the sizes that may differ from call to call


class Scores(torch.nn.Module):
    """A model whose inputs are tensors in a fixed order and whose output is one, the scores."""

    def __init__(self, model: Any, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Scores before the softmax, (B, classes)."""
        scores: torch.Tensor = self.model(**dict(zip(self.names, inputs, strict=True))).logits
        return scores


def free_sizes(inputs: dict[str, torch.Tensor]) -> int:
    """How many leading sizes of each input may differ from call to call.

    Two for tokens and waves: batch and length. Images and spectrograms have one size.
    """
    return 2 if all(values.ndim == 2 for values in inputs.values()) else 1


def write_graph(model: Any, inputs: dict[str, torch.Tensor], path: Path) -> dict[str, list[Any]]:
    """Write `model` as ONNX and return the shapes of its inputs.

    Raises UserError for a model that PyTorch cannot turn into a graph.
    """
    names, sizes = list(inputs), free_sizes(inputs)
    # plain products and a softmax: every runtime knows them, and for some models (Swin,
    # wav2vec2-BERT) PyTorch cannot take its fused attention apart
    model.set_attn_implementation("eager")
    free = dict.fromkeys(range(sizes), torch.export.Dim.DYNAMIC)
    try:
        with _quiet():
            program = torch.onnx.export(
                Scores(model, names).eval(),
                tuple(inputs.values()),
                dynamo=True,
                dynamic_shapes=(tuple(free for _ in names),),
                input_names=names,
                output_names=["logits"],
                opset_version=OPSET,
                verbose=False,
            )
            assert program is not None  # with dynamo it never is
            _tidy(program.model, sizes)
            program.save(path, external_data=bytes_of(model) > LARGE_BYTES)
    except (torch.onnx.OnnxExporterError, NotImplementedError) as error:
        reason = brief(error.__cause__ or error)
        raise UserError(
            f"{type(model).__name__} cannot be exported as ONNX ({reason}); "
            "--format safetensors can"
        ) from None
    return {
        str(each.name): [size if isinstance(size, int) else str(size) for size in each.shape]
        for each in program.model.graph.inputs
    }


def bytes_of(model: Any) -> int:
    """Bytes of the weights."""
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())


def _tidy(graph_model: Any, sizes: int) -> None:
    """Name the free sizes, and drop the lines of code that each operator came from.

    They hold paths of this machine.
    """
    graph = graph_model.graph
    names: dict[str, str] = {}
    for each in graph.inputs:
        for size, name in zip(each.shape[:sizes], FREE, strict=False):
            names[str(size)] = name
    for node in graph:
        node.metadata_props.clear()
    for value in (*graph.inputs, *(output for node in graph for output in node.outputs)):
        value.metadata_props.clear()
        if value.shape is None:
            continue
        for i, size in enumerate(value.shape):
            if not isinstance(size, int):
                text = re.sub(r"\bs\d+\b", lambda found: names.get(found[0], found[0]), str(size))
                value.shape[i] = text


def write_optimized(plain: Path, path: Path, large: bool) -> None:
    """Write the graph as ONNX Runtime rewrites it: folded constants and fused operators.

    No further than what every machine can run; a session adds what only its own can.
    """
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    if large:
        key = "session.optimized_model_external_initializers"
        options.add_session_config_entry(f"{key}_file_name", f"{path.name}.data")
        options.add_session_config_entry(f"{key}_min_size_in_bytes", "1024")
    onnxruntime.InferenceSession(str(plain), options, providers=["CPUExecutionProvider"])


def write_int8(plain: Path, path: Path, large: bool) -> None:
    """Write the graph with the weights of its linear maps rounded to 8 bits, a scale a channel.

    What flows between them is rounded as it comes, so that no data is needed. Seven of the eight
    bits are used: processors without VNNI add two products in 16 bits, which would overflow.
    """
    with _quiet():
        quantize_dynamic(
            plain,
            path,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=large,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the many lines of PyTorch and ONNX about what a user cannot change."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
