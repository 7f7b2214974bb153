"""Chat templates as models on the hub have them, with their signs for images."""

from __future__ import annotations

QWEN_SIGN = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>")
IDEFICS_SIGNS = (
    *("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"),
    *(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)),
)
PARTS = (
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}SIGN{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    + PARTS.replace("SIGN", "".join(QWEN_SIGN))
    + "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
IDEFICS_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}:{% else %}: {% endif %}"
    + PARTS.replace("SIGN", "<image>")
    + "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
# earlier answers are shortened, as templates do with what a model thought
SHORTENING_TEMPLATE = QWEN_TEMPLATE.replace(
    "{{ part['text'] }}",
    "{{ part['text'] if message.role == 'user' or loop.last and message == messages[-1] "
    "else part['text'][:3] }}",
)
