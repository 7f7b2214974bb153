"""Export: merged weights in the Hugging Face layout, checked against the original."""

from __future__ import annotations

from pathlib import Path

import torch

from .checkpoints import CARD, check_replaceable, write_whole
from .errors import ConfigError, UserError
from .finetuning import merged
from .model import AUTO_CLASS
from .model_card import write_card
from .predictor import PROBES, Predictor
from .pretrained import load, load_trained, save_trained
from .processor import PROCESSOR_CLASS

TOLERANCE = 1e-3  # on scores; merging reorders fp32 sums


def export(source: Path, output: Path) -> float:
    """Write the merged model to `output`; return the largest difference of its scores.

    Raises UserError, leaving `output` as it was, when the scores differ by more than
    1e-3 of their size.
    """
    if output.resolve() == source.resolve():
        raise ConfigError(f"--output is the model's own folder {source}; name another")
    check_replaceable(output)
    models = [load_trained(AUTO_CLASS, source, dtype=torch.float32).eval()]
    processor = load(PROCESSOR_CLASS, str(source))
    with torch.inference_mode():
        before = Predictor(models[0], processor, "", "").logits(PROBES)
    largest = [0.0]

    def write(path: Path) -> None:
        # out of memory before it is read again: one copy of a large model is enough
        save_trained(merged(models.pop()), processor, path)
        write_card(path, source.parent, source / CARD, output / CARD)
        with torch.inference_mode():
            after = Predictor.load(path, device="cpu").logits(PROBES)
        largest[0] = float((after - before).abs().max())
        if largest[0] > TOLERANCE * float(before.abs().max().clamp(min=1.0)):
            raise UserError(
                f"the exported model's scores differ by {largest[0]:.1e} from {source}; "
                "nothing was written"
            )

    write_whole(output, write)
    return largest[0]
