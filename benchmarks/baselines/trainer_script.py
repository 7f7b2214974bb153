r"""What one writes by hand: `transformers.Trainer` on a file of conversations.

python benchmarks/baselines/trainer_script.py --model DIR --train FILE --eval FILE --output DIR \
    --steps 20
"""

import argparse

from datasets import load_dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
)

parser = argparse.ArgumentParser(description=__doc__)
for name in ("--model", "--train", "--eval", "--output"):
    parser.add_argument(name, required=True)
parser.add_argument("--steps", type=int, default=-1, help="default: one pass over the data")
parser.add_argument("--micro-batch-size", type=int, default=4)
parser.add_argument("--max-length", type=int, default=256)
options = parser.parse_args()

tokenizer = AutoTokenizer.from_pretrained(options.model)
model = AutoModelForCausalLM.from_pretrained(options.model)


def tokenize(row):
    """Render the conversation and cut it, as most scripts do."""
    text = tokenizer.apply_chat_template(row["messages"], tokenize=False)
    return tokenizer(text, add_special_tokens=False, truncation=True, max_length=options.max_length)


data = load_dataset("json", data_files={"train": options.train, "eval": options.eval})
data = data.map(tokenize, remove_columns=data["train"].column_names)
trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir=options.output,
        max_steps=options.steps,
        num_train_epochs=1,
        per_device_train_batch_size=options.micro_batch_size,
        per_device_eval_batch_size=4,
        gradient_accumulation_steps=2,
        learning_rate=1e-3,
        lr_scheduler_type="cosine",
        logging_steps=5,
        save_strategy="steps" if options.steps > 0 else "no",
        save_steps=max(options.steps, 1),
        report_to="none",
        seed=0,
    ),
    train_dataset=data["train"],
    eval_dataset=data["eval"],
    data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
)
trainer.train()
print(trainer.evaluate())
trainer.save_model()
