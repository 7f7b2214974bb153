"""A tokenizer made from the data, for models with random weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PAD, END, START_OF_TURN, END_OF_TURN = "<|pad|>", "<|end|>", "<|im_start|>", "<|im_end|>"

# ChatML, the form most open chat models use
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_tokenizer(
    texts: Iterable[str], vocab_size: int, max_seq_len: int, special: Sequence[str] = ()
) -> PreTrainedTokenizerBase:
    """Learn a byte-level BPE vocabulary from `texts`; it can write any text, and chat turns.

    `special`: tokens beside those of the turns.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, END, START_OF_TURN, END_OF_TURN, *special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END_OF_TURN,
        additional_special_tokens=[START_OF_TURN, END, *special],
        chat_template=CHAT_TEMPLATE,
        model_max_length=max_seq_len,
        clean_up_tokenization_spaces=False,
    )
