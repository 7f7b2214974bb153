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
parser.add_argument("--steps", type=int, required=True)
options = parser.parse_args()

data = load_dataset("json", data_files={"train": options.train, "eval": options.eval})
trainer = SFTTrainer(
    model=options.model,
    args=SFTConfig(
        output_dir=options.output,
        max_steps=options.steps,
        per_device_train_batch_size=4,
        per_device_eval_batch_size=4,
        gradient_accumulation_steps=2,
        max_length=256,
        learning_rate=1e-3,
        lr_scheduler_type="cosine",
        gradient_checkpointing=False,
        bf16=False,
        logging_steps=5,
        save_steps=options.steps,
        report_to="none",
        seed=0,
    ),
    train_dataset=data["train"],
    eval_dataset=data["eval"],
)
trainer.train()
print(trainer.evaluate())
trainer.save_model()
