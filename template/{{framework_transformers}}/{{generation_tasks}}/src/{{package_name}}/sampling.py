"""Draw the next token so that a seed gives the same text whatever else is in the batch.

torch's own generator gives its numbers to the rows in the order in which they stand in the batch.
Here each token has a number of its own, made from the request's seed and the token's position.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from transformers import LogitsProcessor

COLDEST = 1e-3  # below this temperature the division overflows, and the likeliest token is certain
# In float32 another batch's rounding drew another of 150,000 like tokens in 2 % of the draws, in
# float64 in none of 384. Apple's GPUs have no float64.
PRECISE = {"mps": torch.float32}


def uniform(seed: int, position: int) -> float:
    """The number in [0, 1) that draws the token at `position` (prompt and answer counted)."""
    digest = hashlib.blake2b(f"{seed}:{position}".encode(), digest_size=4).digest()
    return (int.from_bytes(digest, "big") >> 8) / 2**24  # 24 bits: float32 holds them exactly


def draw(
    logits_BV: torch.Tensor,
    temperature_B: torch.Tensor,
    top_p_B: torch.Tensor,
    uniform_B: torch.Tensor,
) -> torch.Tensor:
    """The next token of each row, (B,); a temperature of 0 takes the likeliest.

    `top_p` keeps the likeliest tokens whose probabilities reach it together.
    """
    logits_BV = logits_BV.float()
    likeliest_B = logits_BV.argmax(dim=-1)
    if logits_BV.device.type == "cpu" and not bool((temperature_B >= COLDEST).any()):
        return likeliest_B  # sorting a vocabulary costs; elsewhere asking would cost a wait
    scaled_BV = logits_BV / temperature_B.clamp(min=COLDEST)[:, None]
    scaled_BV, tokens_BV = scaled_BV.sort(dim=-1, descending=True)
    sorted_BV = scaled_BV.softmax(dim=-1, dtype=PRECISE.get(logits_BV.device.type, torch.float64))
    cumulative_BV = sorted_BV.cumsum(dim=-1)
    kept_BV = cumulative_BV - sorted_BV < top_p_B[:, None]
    mass_B = (sorted_BV * kept_BV).sum(dim=-1)
    place_B = (cumulative_BV <= (uniform_B * mass_B)[:, None]).sum(dim=-1)
    place_B = torch.minimum(place_B, (kept_BV.sum(dim=-1) - 1).clamp(min=0))
    drawn_B = tokens_BV.gather(-1, place_B[:, None])[:, 0]
    return torch.where(temperature_B >= COLDEST, drawn_B, likeliest_B)


def drawn(
    scores_BV: torch.Tensor,
    temperature_B: torch.Tensor,
    top_p_B: torch.Tensor,
    uniform_B: torch.Tensor,
) -> torch.Tensor:
    """Scores of which greedy generation takes just the token that `draw` takes."""
    tokens_B = draw(scores_BV, temperature_B, top_p_B, uniform_B)
    return scores_BV.scatter(-1, tokens_B[:, None], torch.inf)


class Draws(LogitsProcessor):
    """Draws for the rows of one batch that `model.generate`, told to be greedy, then takes."""

    def __init__(
        self,
        prompt_lengths: Sequence[int],
        temperatures: Sequence[float],
        top_ps: Sequence[float],
        seeds: Sequence[int],
    ) -> None:
        self._positions = list(prompt_lengths)
        self._seeds = list(seeds)
        self._samples = any(temperature >= COLDEST for temperature in temperatures)
        self._temperature_B = torch.tensor(temperatures, dtype=torch.float32)
        self._top_p_B = torch.tensor(top_ps, dtype=torch.float32)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (B, V) after which only the drawn tokens are left."""
        if not self._samples:
            return scores
        numbers = [uniform(*row) for row in zip(self._seeds, self._positions, strict=True)]
        self._positions = [position + 1 for position in self._positions]
        device = scores.device
        return drawn(
            scores,
            self._temperature_B.to(device),
            self._top_p_B.to(device),
            torch.tensor(numbers, dtype=torch.float32, device=device),
        )
