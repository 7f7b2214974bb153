"""Make the sample of the multimodal task: small pictures of shapes, with questions and answers.

    python tools/sample_shapes.py      (needs Pillow and numpy)

Writes template/{{task_multimodal}}/data/sample: images/, train.jsonl, eval.jsonl, example.png.
The same files each time.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SAMPLE = Path(__file__).resolve().parents[1] / "template" / "{{task_multimodal}}" / "data/sample"
COLORS = {
    "red": (214, 40, 40),
    "green": (42, 157, 70),
    "blue": (38, 84, 200),
    "yellow": (240, 190, 20),
}
SHAPES = ("circle", "square", "triangle")
SIDE = 32
NUM_TRAIN, NUM_EVAL = 144, 36


def picture(rng: np.random.Generator, color: str, shape: str) -> Image.Image:
    """One shape somewhere on a light ground with a little noise."""
    ground = rng.integers(225, 250, (SIDE, SIDE, 1), dtype=np.uint8).repeat(3, axis=2)
    image = Image.fromarray(ground)
    draw = ImageDraw.Draw(image)
    size = int(rng.integers(17, 23))
    x, y = (int(value) for value in rng.integers(2, SIDE - size - 2, 2))
    box = (x, y, x + size, y + size)
    if shape == "circle":
        draw.ellipse(box, fill=COLORS[color])
    elif shape == "square":
        draw.rectangle(box, fill=COLORS[color])
    else:
        draw.polygon([(x + size // 2, y), (x, y + size), (x + size, y + size)], fill=COLORS[color])
    return image.quantize(32)


def conversations(color: str, shape: str) -> list[tuple[str, str]]:
    """Each kind of question, with its answer."""
    return [
        ("What is in the image?", f"A {color} {shape}."),
        (f"Which color is the {shape}?", f"The {shape} is {color}."),
        (f"Which shape is {color}?", f"The {shape}."),
    ]


def main() -> None:
    """Write everything anew."""
    rng = np.random.default_rng(7)
    shutil.rmtree(SAMPLE / "images", ignore_errors=True)
    (SAMPLE / "images").mkdir(parents=True)
    number = 0
    for name, count in (("train", NUM_TRAIN), ("eval", NUM_EVAL)):
        lines = []
        for _ in range(count):
            color, shape = str(rng.choice(list(COLORS))), str(rng.choice(SHAPES))
            path = SAMPLE / "images" / f"{number:03}.png"
            picture(rng, color, shape).save(path, optimize=True)
            for question, answer in conversations(color, shape):
                messages = [
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": answer},
                ]
                row = {"image": f"images/{path.name}", "messages": messages}
                lines.append(json.dumps(row) + "\n")
            number += 1
        (SAMPLE / f"{name}.jsonl").write_text("".join(lines), "utf-8")
    picture(rng, "blue", "circle").save(SAMPLE / "example.png", optimize=True)


if __name__ == "__main__":
    main()
