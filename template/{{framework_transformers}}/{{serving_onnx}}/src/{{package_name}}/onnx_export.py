"""Export as ONNX: checked against the original, with what each variant changes and loses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from .checkpoints import CARD, check_replaceable, write_whole
from .config import Config
from .data import load_eval
from .errors import ConfigError, UserError
from .export import TOLERANCE
from .finetuning import merged
from .inputs import PROBES, encode, read_input
from .model import AUTO_CLASS
from .model_card import write_card
from .onnx_graph import (
    LARGE_BYTES,
    OPSET,
    bytes_of,
    free_sizes,
    write_graph,
    write_int8,
    write_optimized,
)
from .onnx_session import ENGINES, INT8, OPTIMIZED, PLAIN, REPORT, open_session
from .pretrained import load, load_trained
from .processor import PROCESSOR_CLASS
from .runs import write_json
from .tensorrt import build_engines, fits

VARIANTS = {"plain": PLAIN, "optimized": OPTIMIZED, "int8": INT8}
ROWS = 256  # held-out rows at most, on which accuracy is measured
TF32 = 20  # times the tolerance: TensorRT multiplies with so many bits fewer, where the GPU can
MAX_LENGTH = 8192  # for tokenizers that name none
BATCH_SIZES = (1, 3, 8)  # of these rows, in turn

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Variant:
    """One file of the export, and how it compares with the original."""

    file: str
    megabytes: float
    difference: float
    """Largest difference of the scores before the softmax."""
    same_answers: float | None
    """Share of the held-out rows that get the original's class; None: there are no rows."""
    accuracy: float | None


@dataclass(frozen=True)
class Report:
    """What export.json holds."""

    serve: str
    opset: int
    inputs: dict[str, list[Any]]
    lengths: tuple[int, int] | None
    """Shortest and longest input; None where it has but one size."""
    tolerance: float
    rows: int
    original_accuracy: float | None
    variants: list[Variant]
    versions: dict[str, str]


@dataclass(frozen=True)
class Check:
    """A batch, the original's scores for it (B, classes), and the true classes where known."""

    inputs: Arrays
    scores: np.ndarray
    labels: np.ndarray | None = None


def export_onnx(
    source: Path,
    output: Path,
    config: Config | None = None,
    serve: str = "optimized",
    engines: bool = False,
) -> Report:
    """Write the merged model to `output` as three graphs, of which the service takes `serve`.

    `config` names the held-out rows on which accuracy is measured; with `engines`, TensorRT builds
    its own for this machine's GPU. Raises UserError, leaving
    `output` as it was, when the plain or optimised graph's scores differ from the original's by
    more than 1e-3 of their size, or the engines' by 20 times that; int8 is measured only.
    """
    if output.resolve() == source.resolve():
        raise ConfigError(f"--output is the model's own folder {source}; name another")
    check_replaceable(output)
    models = [load_trained(AUTO_CLASS, source, dtype=torch.float32).eval()]
    processor = load(PROCESSOR_CLASS, str(source))
    checks = [_checked(models[0], *batch) for batch in _batches(models[0], processor, config)]
    reports: list[Report] = []

    def write(path: Path) -> None:
        report = _write(path, merged(models.pop()).eval(), processor, checks, serve, source)
        reports.append(_with_engines(path, report, checks, source) if engines else report)
        write_card(path, source.parent, source / CARD, output / CARD, loading=_loading())

    write_whole(output, write)
    return reports[0]


def _write(
    path: Path, model: Any, processor: Any, checks: list[Check], serve: str, source: Path
) -> Report:
    example = {name: torch.from_numpy(values) for name, values in checks[0].inputs.items()}
    large = bytes_of(model) > LARGE_BYTES
    shapes = write_graph(model, example, path / PLAIN)
    # of a base with adapters, the config still names what the base was made for
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(path)
    processor.save_pretrained(path)
    del model
    write_optimized(path / PLAIN, path / OPTIMIZED, large)
    write_int8(path / PLAIN, path / INT8, large)
    variants = [_measured(path / file, checks) for file in VARIANTS.values()]
    tolerance = TOLERANCE * max(1.0, _largest(check.scores for check in checks))
    for variant in variants:
        if variant.file != INT8:
            _compare(variant, tolerance, source)
    rows = [(check,) for check in checks if check.labels is not None]
    report = Report(
        serve=VARIANTS[serve],
        opset=OPSET,
        inputs=shapes,
        lengths=_lengths(example, processor),
        tolerance=tolerance,
        rows=sum(len(check.scores) for (check,) in rows),
        original_accuracy=_share(rows, lambda check: answers(check) == check.labels),
        variants=variants,
        versions={each.__name__: str(each.__version__) for each in (torch, onnx, onnxruntime)},
    )
    write_json(path / REPORT, asdict(report))
    return report


def _with_engines(path: Path, report: Report, checks: list[Check], source: Path) -> Report:
    """Build TensorRT's engines, and compare what they give with the original."""
    session = build_engines(path)
    fitting = [check for check in checks if fits(path, check.inputs)]
    size = sum(file.stat().st_size for file in (path / ENGINES).iterdir())
    found = _compared(session, path / PLAIN, fitting)
    engine = replace(found, file=ENGINES, megabytes=round(size / 1e6, 2))
    _compare(engine, TF32 * report.tolerance, source)
    report = replace(report, variants=[*report.variants, engine])
    write_json(path / REPORT, asdict(report))
    return report


def _lengths(example: dict[str, torch.Tensor], processor: Any) -> tuple[int, int] | None:
    if free_sizes(example) == 1:
        return None
    limit = getattr(processor, "model_max_length", None)
    if limit is not None:
        return 1, min(limit, MAX_LENGTH)
    width = next(iter(example.values())).shape[1]  # the processor brings each wave to it
    return width, width


def _batches(
    model: Any, processor: Any, config: Config | None
) -> Iterator[tuple[Arrays, np.ndarray | None]]:
    """The probes, in several sizes and lengths, and held-out rows with their classes."""
    items = [read_input(probe, number) for number, probe in enumerate(PROBES, start=1)]
    encoded = encode(items, processor)
    inputs = {name: values.numpy() for name, values in encoded.items()}
    yield inputs, None
    yield {name: values[:1] for name, values in inputs.items()}, None
    if free_sizes(encoded) == 2:
        width = next(iter(inputs.values())).shape[1]
        limit = getattr(processor, "model_max_length", MAX_LENGTH * width)
        for length in (width // 2, min(2 * width, limit)):
            longer = {name: np.tile(values, (3, 2)) for name, values in inputs.items()}
            yield {name: values[:, :length] for name, values in longer.items()}, None
    if config is None:
        return
    data = load_eval(config, processor, model.config)
    order = np.argsort(data.eval.lengths(), kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, ROWS).round().astype(int))].tolist()
    sizes = [BATCH_SIZES[i % len(BATCH_SIZES)] for i in range(len(chosen))]
    for size in sizes:
        indices, chosen = chosen[:size], chosen[size:]
        if not indices:
            return
        batch = data.batch(data.eval, indices)
        yield {name: batch[name] for name in inputs}, batch["labels"]


@torch.inference_mode()
def _checked(model: Any, inputs: Arrays, labels: np.ndarray | None) -> Check:
    tensors = {name: torch.from_numpy(values) for name, values in inputs.items()}
    return Check(inputs, model(**tensors).logits.float().numpy(), labels)


def _compare(variant: Variant, tolerance: float, source: Path) -> None:
    """Raise UserError where a variant's scores are not the original's, or no numbers."""
    if not variant.difference <= tolerance:
        raise UserError(
            f"the scores of {variant.file} differ by {variant.difference:.1e} from {source}; "
            "nothing was written"
        )


def _largest(arrays: Iterable[np.ndarray]) -> float:
    """The largest size of all numbers; NaN where one of them is."""
    return float(np.max([np.abs(array).max() for array in arrays]))


def _measured(file: Path, checks: list[Check]) -> Variant:
    return _compared(open_session(file, "cpu"), file, checks)


def _compared(session: onnxruntime.InferenceSession, file: Path, checks: list[Check]) -> Variant:
    names = [each.name for each in session.get_inputs()]
    found = [
        Check(
            check.inputs,
            session.run(None, {name: check.inputs[name] for name in names})[0],
            check.labels,
        )
        for check in checks
    ]
    pairs = list(zip(found, checks, strict=True))
    rows = [(new, old) for new, old in pairs if old.labels is not None]
    files = (file, file.with_name(f"{file.name}.data"))
    return Variant(
        file=file.name,
        megabytes=round(sum(each.stat().st_size for each in files if each.is_file()) / 1e6, 2),
        difference=_largest(new.scores - old.scores for new, old in pairs),
        same_answers=_share(rows, lambda new, old: answers(new) == answers(old)),
        accuracy=_share(rows, lambda new, old: answers(new) == old.labels),
    )


def answers(check: Check) -> np.ndarray:
    """The likeliest classes, (B,)."""
    return np.asarray(check.scores.argmax(axis=1))


def _share(rows: list[Any], is_right: Callable[..., np.ndarray]) -> float | None:
    right = [is_right(*row) for row in rows]
    return round(float(np.concatenate(right).mean()), 4) if right else None


def _loading() -> str:
    return (
        "With ONNX Runtime; this project reads inputs and names classes:\n\n"
        "```python\n"
        f"from {__package__}.onnx_predictor import OnnxPredictor\n\n"
        "predictor = OnnxPredictor.load(folder)  # where this file is\n"
        "```"
    )


def table(report: Report) -> str:
    """The variants as a table: what each costs and loses."""
    lines = [("file", "MB", "difference", "same answers", "accuracy")]
    if report.original_accuracy is not None:
        lines.append(("original", "", "", "", f"{report.original_accuracy:.4f}"))
    for each in report.variants:
        same = "" if each.same_answers is None else f"{each.same_answers:.2%}"
        accuracy = "" if each.accuracy is None else f"{each.accuracy:.4f}"
        numbers = (f"{each.megabytes:.2f}", f"{each.difference:.1e}", same, accuracy)
        lines.append((each.file + (" *" if each.file == report.serve else ""), *numbers))
    return "\n".join(
        f"{name:23} {size:>9} {difference:>11} {same:>13} {accuracy:>9}"
        for name, size, difference, same, accuracy in lines
    )
