"""Write the sample images into the template: hand-written digits, as PNG files in Parquet.

    uv run --with scikit-learn,pillow,pyarrow tools/sample_digits.py [template folder]

scikit-learn holds the data and is no dependency of this repository, so this script is run by
hand. The order is fixed by a seed; the bytes are the same with the same versions of the packages.
"""

import io
import random
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
from PIL import Image
from sklearn.datasets import load_digits

SEED = 20240229
EVAL_ROWS = 297
WHITE = 16  # the largest of the 17 grey levels


def main(template: Path) -> None:
    """Write train.parquet, eval.parquet and example.png."""
    digits = load_digits()
    order = list(range(len(digits.images)))
    random.Random(SEED).shuffle(order)
    images = [png((digits.images[i] * (255 / WHITE)).round().astype("uint8")) for i in order]
    labels = [str(digits.target[i]) for i in order]
    folder = template / "{{task_image_classification}}/data/sample"
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "train.parquet", images[EVAL_ROWS:], labels[EVAL_ROWS:])
    write(folder / "eval.parquet", images[:EVAL_ROWS], labels[:EVAL_ROWS])
    (folder / "example.png").write_bytes(images[0])


def png(pixels: object) -> bytes:
    """Return an 8 by 8 grey image as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()


def write(path: Path, images: list[bytes], labels: list[str]) -> None:
    """Write rows in the form of the Hugging Face Hub: `image` with bytes and path, `label`."""
    rows = [
        {"image": {"bytes": image, "path": None}, "label": label}
        for image, label in zip(images, labels, strict=True)
    ]
    image_type = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema([("image", image_type), ("label", pyarrow.string())])
    table = pyarrow.Table.from_pylist(rows, schema=schema)
    pyarrow.parquet.write_table(table, path, compression="zstd")


if __name__ == "__main__":
    default = Path(__file__).resolve().parents[1] / "template"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
