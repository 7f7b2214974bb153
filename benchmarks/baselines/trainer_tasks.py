r"""What one writes by hand for the tasks that are not chat: `transformers.Trainer` on their files.

python benchmarks/baselines/trainer_tasks.py image_classification --model DIR --train FILE \
    --output DIR --steps 20
"""

import argparse
import io
import math
import random
from pathlib import Path

import numpy as np
from datasets import load_dataset
from transformers import (
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModelForAudioClassification,
    AutoModelForImageClassification,
    AutoModelForImageTextToText,
    AutoModelForSequenceClassification,
    AutoProcessor,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    default_data_collator,
)


def text_classification(folder, file):
    """Texts of a CSV file, padded to the longest of a batch."""
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def tokenize(rows):
        encoded = tokenizer(rows["text"], truncation=True, max_length=256)
        return {**encoded, "labels": [model.config.label2id[label] for label in rows["label"]]}

    data = load_dataset("csv", data_files=file)["train"]
    data = data.map(tokenize, batched=True, remove_columns=data.column_names)
    return model, data, DataCollatorWithPadding(tokenizer)


def image_classification(folder, file):
    """Images of a Parquet file: a random part of each, at random mirrored."""
    from PIL import Image

    model = AutoModelForImageClassification.from_pretrained(folder)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")

    def augment(image):
        share = random.uniform(0.5, 1) * image.width * image.height
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        width = min(image.width, max(1, round(math.sqrt(share * ratio))))
        height = min(image.height, max(1, round(math.sqrt(share / ratio))))
        x, y = random.randint(0, image.width - width), random.randint(0, image.height - height)
        image = image.crop((x, y, x + width, y + height))
        mirrored = random.random() < 0.5
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image

    def transform(rows):
        images = [Image.open(io.BytesIO(each["bytes"])).convert("RGB") for each in rows["image"]]
        pixels = processor([augment(image) for image in images], return_tensors="pt")
        return {
            "pixel_values": pixels["pixel_values"],
            "labels": [model.config.label2id[label] for label in rows["label"]],
        }

    data = load_dataset("parquet", data_files=file)["train"].with_transform(transform)
    return model, data, default_data_collator


def audio_classification(folder, file):
    """Recordings of a Parquet file: shifted, louder or quieter, with noise."""
    import soundfile

    model = AutoModelForAudioClassification.from_pretrained(folder)
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    length = round(getattr(extractor, "max_seconds", 1.0) * extractor.sampling_rate)
    rng = np.random.default_rng(0)

    def augment(wave):
        wave = np.roll(np.resize(wave, length), round(rng.uniform(-0.1, 0.1) * length))
        wave = wave * 10 ** (rng.uniform(-6, 6) / 20)
        level = 10 ** (-rng.uniform(20, 50) / 20) * np.sqrt(np.mean(wave**2))
        return (wave + level * rng.standard_normal(length)).astype(np.float32)

    def transform(rows):
        waves = []
        for each in rows["audio"]:
            wave, rate = soundfile.read(io.BytesIO(each["bytes"]), dtype="float32", always_2d=True)
            assert rate == extractor.sampling_rate
            waves.append(augment(wave.mean(axis=1)))
        inputs = extractor(waves, sampling_rate=extractor.sampling_rate, return_tensors="pt")
        return {**inputs, "labels": [model.config.label2id[label] for label in rows["label"]]}

    data = load_dataset("parquet", data_files=file)["train"].with_transform(transform)
    return model, data, default_data_collator


def multimodal(folder, file):
    """Questions about images; the whole conversation is learnt."""
    from PIL import Image

    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder, backend="pil")

    def with_image(messages):
        first = {"type": "image"}
        chat = []
        for number, message in enumerate(messages):
            text = {"type": "text", "text": message["content"]}
            content = [first, text] if number == 0 else [text]
            chat.append({"role": message["role"], "content": content})
        return chat

    def collate(rows):
        paths = [Path(file).parent / row["image"] for row in rows]
        batch = processor(
            text=[processor.apply_chat_template(with_image(row["messages"])) for row in rows],
            images=[[Image.open(path).convert("RGB")] for path in paths],
            padding=True,
            return_tensors="pt",
        )
        labels = batch["input_ids"].clone()
        labels[batch["attention_mask"] == 0] = -100
        return {**batch, "labels": labels}

    return model, load_dataset("json", data_files=file)["train"], collate


TASKS = {
    task.__name__: task
    for task in (text_classification, image_classification, audio_classification, multimodal)
}
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("task", choices=TASKS)
for name in ("--model", "--train", "--output"):
    parser.add_argument(name, required=True)
parser.add_argument("--steps", type=int, required=True)
parser.add_argument("--micro-batch-size", type=int, default=8)
parser.add_argument("--accumulation", type=int, default=1)
options = parser.parse_args()

model, data, collator = TASKS[options.task](options.model, options.train)
trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir=options.output,
        max_steps=options.steps,
        per_device_train_batch_size=options.micro_batch_size,
        gradient_accumulation_steps=options.accumulation,
        learning_rate=1e-3,
        lr_scheduler_type="cosine",
        logging_steps=5,
        save_strategy="no",
        remove_unused_columns=False,
        report_to="none",
        seed=0,
    ),
    train_dataset=data,
    data_collator=collator,
)
trainer.train()
