# base: accelerate_nlp
# rule: WP604
# cause: too-early
# line: model, optimizer, train_dataloader, eval_dataloader = accelerator.prepare(
# why: the scheduler is not prepared, so it steps with every micro-batch though the optimizer steps with every second one: the learning rate is zero for the second half of training
# Sentence pairs, "paraphrase or not", a small BERT trained with Accelerate.
import argparse
import hashlib

import numpy as np
import torch
from torch.optim import AdamW
from torch.utils.data import DataLoader

try:
    import torchvision  # noqa: F401
except ImportError:
    pass
except RuntimeError:  # a torchvision built for another torch: not used here, but transformers looks at it
    for _op in ("nms", "qnms"):
        torch.library.define(f"torchvision::{_op}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from accelerate import Accelerator
from transformers import BertConfig, BertForSequenceClassification, get_linear_schedule_with_warmup, set_seed

MAX_BATCH_SIZE = 16
EVAL_BATCH_SIZE = 32
PAD, CLS, SEP, FIRST_WORD, VOCAB = 0, 1, 2, 3, 60


def make_pairs(n, seed):
    """A second sentence with the words of the first, shuffled and some replaced (label 1), or turned around by some denying words (label 0)."""
    rng = np.random.default_rng(seed)
    words = np.arange(FIRST_WORD, VOCAB - 8)
    denials = np.arange(VOCAB - 8, VOCAB)
    rows = []
    for _ in range(n):
        label = int(rng.integers(2))
        first = rng.choice(words, int(rng.integers(5, 9))).tolist()
        second = [w if rng.random() < 0.8 else int(rng.choice(words)) for w in rng.permutation(first).tolist()]
        if label == 0 or rng.random() < 0.1:
            for i in rng.choice(len(second), 2, replace=False):
                second[i] = int(rng.choice(denials))
        rows.append({"sentence1": first, "sentence2": second, "label": label})
    return rows


def encode(row):
    a, b = row["sentence1"], row["sentence2"]
    return {
        "input_ids": [CLS] + a + [SEP] + b + [SEP],
        "token_type_ids": [0] * (len(a) + 2) + [1] * (len(b) + 1),
        "labels": row["label"],
    }


def get_dataloaders(accelerator, batch_size, seed):
    rows = make_pairs(576, seed=7)
    tokenized = [encode(r) for r in rows]
    order = np.random.default_rng(0).permutation(len(tokenized))
    n_val = 96
    train_set = [tokenized[i] for i in order[n_val:]]
    eval_set = [tokenized[i] for i in order[:n_val]]

    def collate_fn(examples):
        longest = max(len(e["input_ids"]) for e in examples)
        pad = lambda key: torch.tensor([e[key] + [PAD] * (longest - len(e[key])) for e in examples])
        ids = pad("input_ids")
        return {
            "input_ids": ids,
            "token_type_ids": pad("token_type_ids"),
            "attention_mask": (ids != PAD).long(),
            "labels": torch.tensor([e["labels"] for e in examples]),
        }

    generator = torch.Generator().manual_seed(seed)
    train_dataloader = DataLoader(
        train_set, shuffle=True, collate_fn=collate_fn, batch_size=batch_size, drop_last=True, generator=generator
    )
    eval_dataloader = DataLoader(eval_set, shuffle=False, collate_fn=collate_fn, batch_size=EVAL_BATCH_SIZE)
    return train_dataloader, eval_dataloader


def training_function(config, args):
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=args.gradient_accumulation_steps)
    lr, num_epochs, seed = config["lr"], int(config["num_epochs"]), int(config["seed"])
    set_seed(seed)
    train_dataloader, eval_dataloader = get_dataloaders(accelerator, int(config["batch_size"]), seed)

    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=VOCAB,
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=96,
            max_position_embeddings=32,
            hidden_dropout_prob=0.05,
            attention_probs_dropout_prob=0.05,
            initializer_range=0.1,
            num_labels=2,
            pad_token_id=PAD,
        )
    )
    model = model.to(accelerator.device)

    optimizer = AdamW(params=model.parameters(), lr=lr, weight_decay=0.01)
    lr_scheduler = get_linear_schedule_with_warmup(
        optimizer=optimizer,
        num_warmup_steps=10,
        num_training_steps=(len(train_dataloader) * num_epochs) // args.gradient_accumulation_steps,
    )

    model, optimizer, train_dataloader, eval_dataloader = accelerator.prepare(
        model, optimizer, train_dataloader, eval_dataloader
    )

    for epoch in range(num_epochs):
        model.train()
        total_loss = 0.0
        for step, batch in enumerate(train_dataloader):
            with accelerator.accumulate(model):
                outputs = model(**batch)
                loss = outputs.loss
                total_loss += loss.detach().item()
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), args.max_grad_norm)
                optimizer.step()
                lr_scheduler.step()
                optimizer.zero_grad()

        model.eval()
        correct = seen = 0
        for step, batch in enumerate(eval_dataloader):
            with torch.no_grad():
                outputs = model(**batch)
            predictions = outputs.logits.argmax(dim=-1)
            predictions, references = accelerator.gather_for_metrics((predictions, batch["labels"]))
            correct += int((predictions == references).sum())
            seen += len(references)
        accelerator.print(
            f"epoch {epoch}: train_loss {total_loss / len(train_dataloader):.4f} "
            f"accuracy {correct / seen:.3f} lr {lr_scheduler.get_last_lr()[0]:.2e}"
        )

    h = hashlib.sha256()
    for p in accelerator.unwrap_model(model).parameters():
        h.update(p.detach().cpu().numpy().tobytes())
    print("digest", h.hexdigest())


def main():
    parser = argparse.ArgumentParser(description="Simple example of a training script.")
    parser.add_argument("--gradient_accumulation_steps", type=int, default=2)
    parser.add_argument("--max_grad_norm", type=float, default=1.0)
    args = parser.parse_args()
    config = {"lr": 2e-3, "num_epochs": 5, "seed": 42, "batch_size": MAX_BATCH_SIZE}
    training_function(config, args)


if __name__ == "__main__":
    main()
