r"""The same with TRL: `SFTTrainer` on a file of conversations.

python benchmarks/baselines/trl_sft.py --model DIR --train FILE --eval FILE --output DIR \
    --steps 20
"""

import argparse

from datasets import load_dataset
from trl import SFTConfig, SFTTrainer

parser = argparse.ArgumentParser(description=__doc__)
for name in ("--model", "--train", "--eval", "--output"):
    parser.add_argument(name, required=True)
parser.add_argument("--steps", type=int, default=-1, help="default: one pass over the data")
parser.add_argument("--micro-batch-size", type=int, default=4)
parser.add_argument("--max-length", type=int, default=256)
parser.add_argument("--packing", action="store_true")
options = parser.parse_args()

data = load_dataset("json", data_files={"train": options.train, "eval": options.eval})
trainer = SFTTrainer(
    model=options.model,
    args=SFTConfig(
        output_dir=options.output,
        max_steps=options.steps,
        num_train_epochs=1,
        per_device_train_batch_size=options.micro_batch_size,
        per_device_eval_batch_size=4,
        gradient_accumulation_steps=2,
        max_length=options.max_length,
        learning_rate=1e-3,
        lr_scheduler_type="cosine",
        packing=options.packing,
        gradient_checkpointing=False,
        bf16=False,
        logging_steps=5,
        save_strategy="steps" if options.steps > 0 else "no",
        save_steps=max(options.steps, 1),
        report_to="none",
        seed=0,
    ),
    train_dataset=data["train"],
    eval_dataset=data["eval"],
)
trainer.train()
print(trainer.evaluate())
trainer.save_model()
