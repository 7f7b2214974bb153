"""Small models as a hub has them, of families other than those that `scratch` makes.

Each is written by a few lines of Transformers, run in a project's environment: FOLDER is where,
and all have dropout or masks of their own where their family has them.
"""

from __future__ import annotations

from pathlib import Path

from projects import Installed

_START = """
import sys
import transformers as t
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

folder = sys.argv[1]
t.set_seed(1)
sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)

def byte_level(*special, **names):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([], trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(special), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return t.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
"""

_CODE = {
    # no template, no token for padding; dropout of 0.1 throughout
    "llm": """
tokenizer = byte_level("<|endoftext|>", eos_token="<|endoftext|>", bos_token="<|endoftext|>")
t.GPT2LMHeadModel(t.GPT2Config(
    vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=128,
    bos_token_id=0, eos_token_id=0)).save_pretrained(folder)
tokenizer.save_pretrained(folder)
""",
    # a masked language model: neither a head for classes nor BERT's pooler; dropout of 0.1
    "text_classification": """
tokenizer = byte_level("[PAD]", "[UNK]", "[CLS]", "[SEP]", pad_token="[PAD]", unk_token="[UNK]",
                       cls_token="[CLS]", sep_token="[SEP]", model_max_length=128)
tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
t.BertForMaskedLM(t.BertConfig(
    vocab_size=len(tokenizer), max_position_embeddings=128, **sizes)).save_pretrained(folder)
tokenizer.save_pretrained(folder)
""",
    # without a head, and with a crop after the scaling
    "image_classification": """
t.Dinov2Model(t.Dinov2Config(
    image_size=28, patch_size=7, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
    hidden_dropout_prob=0.1, drop_path_rate=0.1)).save_pretrained(folder)
t.BitImageProcessorPil(
    size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}).save_pretrained(folder)
""",
    # of speech, not of classes; it masks what it hears at random, and has dropout of 0.1
    "audio_classification": """
t.Wav2Vec2ForCTC(t.Wav2Vec2Config(
    conv_dim=(16, 16, 16), conv_stride=(5, 4, 4), conv_kernel=(10, 4, 4), mask_time_length=4,
    num_feat_extract_layers=3, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
    classifier_proj_size=24, vocab_size=20, **sizes)).save_pretrained(folder)
t.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
""",
    # an image becomes several pieces with signs between them
    "multimodal": """
places = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
image = ["<image>", "<fake_token_around_image>", "<global-img>", *places]
tokenizer = byte_level(
    "<|pad|>", "<|im_start|>", "<|im_end|>", *image, pad_token="<|pad|>", eos_token="<|im_end|>",
    unk_token="<|pad|>", additional_special_tokens=image)
template = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\\n{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "<|im_end|>\\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\\n{% endif %}")
t.Idefics3Processor(
    image_processor=t.Idefics3ImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}),
    tokenizer=tokenizer, image_seq_len=4, chat_template=template).save_pretrained(folder)
t.Idefics3ForConditionalGeneration(t.Idefics3Config(
    text_config=dict(sizes, model_type="llama", num_key_value_heads=2, vocab_size=len(tokenizer),
                     max_position_embeddings=512),
    vision_config=dict(sizes, image_size=32, patch_size=8), scale_factor=2, pad_token_id=0,
    image_token_id=tokenizer.convert_tokens_to_ids("<image>"))).save_pretrained(folder)
""",
}


def foreign_model(project: Installed, folder: Path) -> str:
    """Write the model for the project's task into `folder`, and return its path."""
    project.python_code(_START + _CODE[project.task], str(folder))
    return str(folder)
