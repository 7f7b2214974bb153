"""The moments of a training step whose memory competes, and what is alive in each."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from . import media
from .activations import (
    Program,
    adapters_per_token,
    computes_norms_wide,
    outside_layers,
    saved_per_token,
    working_per_token,
)
from .shapes import LinearMap, ModelShape
from .states import States

if TYPE_CHECKING:
    from .memory import Training

CHUNK = 1024  # tokens of a piece of the loss, as in chunked_loss.py


class Alive(NamedTuple):
    """Bytes alive at a moment, beside each GPU's share of weights and optimizer state."""

    gathered: float  # weights that FSDP has gathered
    gradients: float
    activations: float = 0
    logits: float = 0


class Step:
    """One training step on one GPU."""

    def __init__(
        self,
        shape: ModelShape,
        training: Training,
        program: Program,
        states: States,
        maps: list[LinearMap],
    ) -> None:
        self.shape, self.training, self.program = shape, training, program
        self.states, self.maps = states, maps
        self.full, self.mode = training.strategy == "full", training.mode
        self.ckpt = training.activation_checkpointing
        self.decoder = shape.kind in ("decoder", "vision_language")
        self.language_model = self.decoder and not training.classifier
        self.tied = shape.tied and self.language_model
        # post-norm: what passes from layer to layer comes from a norm
        self.norm_last = shape.kind == "encoder" or shape.family in ("wav2vec2", "hubert")
        length = shape.tokens if shape.tokens and not self.decoder else training.max_seq_len
        self.tokens = training.micro_batch_size * length
        self.plain, self.windowed, self.basis = saved_per_token(shape, training, length, program)

    def moments(self) -> dict[str, Alive]:
        """All that compete, in their order but for the rare ones."""
        alive = {
            "loss": self.loss(),
            "backward pass of the last layer": self.last_layer(),
            "backward pass of the first layer": self.first_layer(),
            "end of the backward pass": self.end(),
            "sum of the gradients over GPUs": Alive(0, self.gradients + self.states.bucket),
            "optimizer step": Alive(0, self.gradients + self.states.step),
        }
        if front_end := media.front_end(self.shape, self.training):
            alive["convolutions before the layers"] = Alive(0, self.held, front_end)
        if self.mode == "mixed" and self.ckpt:
            alive["forward pass"] = self.forward()
        return alive

    # ── The moments ──────────────────────────────────────────────────────────────────────────────

    def forward(self) -> Alive:
        """Its end, until which autocast keeps its copies of weights."""
        activations = self.saved + self.outside + self.states.casts
        return Alive(0, self.held, activations, self._logits[1])

    def loss(self) -> Alive:
        """Its backward pass, with all that the layers keep."""
        gradients, activations = self.held, self.saved + self.outside
        if self.training.loss_head != "full":  # summed over the pieces: so far, and of this one
            gradients += 2 * self.states.head_gradient
        if self.program.quantizes_head:
            activations += self.states.dequantized
        return Alive(self.states.unsharded, gradients, activations, self._logits[0])

    def last_layer(self) -> Alive:
        """The first whose backward pass runs, with all that the others keep."""
        gradients = max(self.held, self.states.head_gradient) + self.states.layer_buffers
        return Alive(self.states.unsharded, gradients, self.saved + self.before + self.working)

    def first_layer(self) -> Alive:
        """The last whose backward pass runs, with the gradients of the others."""
        gradients = self.gradients - (0 if self.tied else self.states.embedding_gradient)
        if not self.decoder:  # the peak of a decoder's layer comes later, beside its own gradients
            gradients -= (self.gradients - self.states.embedding_gradient) / self.shape.layers
        gradients = max(self.held, gradients) + self.states.layer_buffers
        in_use = self.working if self.ckpt else self.layer + self.states.dequantized
        return Alive(self.states.unsharded, gradients, self.before + in_use)

    def end(self) -> Alive:
        """The gradient of the embedding, beside all others."""
        gradients = self.gradients
        if self.tied:  # from both of its uses, before they are added
            gradients += 2 * self.states.embedding_gradient
        elif self.held:
            gradients += self.states.embedding_gradient
        return Alive(0, gradients + self.states.root_buffers)

    # ── What they are made of ────────────────────────────────────────────────────────────────────

    @cached_property
    def held(self) -> float:
        """Gradients during the pass: those of the passes before."""
        several = self.training.accumulation > 1 and not self.training.optimizer_in_backward
        return self.states.gradients if several else 0.0

    @cached_property
    def gradients(self) -> float:
        """Gradients after the pass: all, or one weight's at a time."""
        if self.training.optimizer_in_backward:
            return max(self.states.embedding_gradient, self.states.head_gradient)
        return self.states.gradients

    @cached_property
    def _more(self) -> float:
        """What one layer's adapters keep per token."""
        if self.full or self.program.saved:
            return 0.0
        return adapters_per_token(self.shape, self.training, self.maps)

    @cached_property
    def layer(self) -> float:
        """What the largest layer keeps."""
        kept = max(self.plain, self.windowed if self.shape.windowed_layers else 0) + self._more
        return kept * self.tokens + self.states.casts / self.shape.layers

    @cached_property
    def narrow(self) -> bool:
        """Whether 16 bit pass from layer to layer.

        So it is with a 16-bit base, but fp32 where a norm comes last and is computed in fp32.
        """
        if self.norm_last and computes_norms_wide(self.training):
            return False
        mixed = self.mode == "mixed" and not self.full and not self.norm_last
        return self.mode == "pure_bf16" or mixed

    @cached_property
    def passed(self) -> float:
        """What one layer hands to the next."""
        return (2 if self.narrow else 4) * self.shape.hidden * self.tokens

    @cached_property
    def saved(self) -> float:
        """What all layers keep for the backward pass."""
        layers, local = self.shape.layers, self.shape.windowed_layers
        if self.ckpt:
            return (2 if self.program.offloads else layers) * self.passed
        kept = (layers - local) * self.plain + local * self.windowed + layers * self._more
        saved = kept * self.tokens + self.states.casts
        if not self.full and self.decoder:  # nothing before the first adapter needs a gradient
            saved -= 4 * self.shape.hidden * self.tokens
        return saved

    @cached_property
    def _norm(self) -> float:
        """What the last norm keeps, or that of an encoder's embeddings."""
        return (8 if self.full else 4) * self.shape.hidden * self.tokens

    @cached_property
    def before(self) -> float:
        """What is kept before the layers, to the end."""
        before = outside_layers(self.shape, self.training) + media.present(
            self.shape, self.training
        )
        return before + (self._norm if self.shape.kind == "encoder" else 0)

    @cached_property
    def outside(self) -> float:
        """What is kept before and after the layers."""
        outside = self.before + (self._norm if self.decoder else 0)
        if self.full and self.mode == "mixed" and self.language_model:
            outside += 2 * self.shape.vocab * self.shape.hidden  # the head's 16-bit copy
        return outside

    @cached_property
    def working(self) -> float:
        """What the backward pass of a layer has in use besides what is kept."""
        again = self.layer if self.ckpt else 0  # computed again
        media_shape = self.shape.kind in ("vision", "audio")
        if self.ckpt and media_shape and not self.narrow and not self.norm_last:
            again -= self.passed  # its first norm reads what is kept between layers
        used = working_per_token(self.shape, self.training, self.maps) * self.tokens
        return again + used + self.states.dequantized

    @cached_property
    def _logits(self) -> tuple[float, float]:
        """Bytes of logits at the loss's peak, and in the forward pass."""
        logits = self.shape.vocab * self.tokens if self.language_model else 0
        loss, forward = self._in_pieces(logits)
        if self.shape.family == "gemma2":  # caps its logits by a tanh, whose output stays
            loss, forward = loss + 2 * logits, forward + 2 * logits
        return loss, forward

    def _in_pieces(self, logits: float) -> tuple[float, float]:
        if self.training.loss_head == "full":
            return 12 * logits, 10 * logits
        if self.training.loss_head == "split":  # in eight pieces, as torchtune does
            piece = logits * min(1, max(256, self.tokens / 8) / self.tokens)
            loss = self.program.logit_bytes * logits + self.program.piece_bytes * piece
            return loss, 4 * logits + 4 * piece
        piece = logits * min(1, CHUNK / self.tokens)
        return 12 * piece, 10 * piece
