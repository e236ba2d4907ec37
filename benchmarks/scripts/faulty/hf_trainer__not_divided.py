# base: hf_trainer
# rule: WP601
# cause: not-divided
# line: return ce + 1e-4 * z
# why: the loss function ignores num_items_in_batch and gives each micro-batch's own mean, which Trainer takes for scaled already, so the gradients of 4 micro-batches are summed, not averaged: 4 times the gradient for SGD, clipped at nearly every step
"""Train a very small GPT-2 from scratch with the Trainer, on sentences of a made-up language."""
import hashlib
import logging
import math
import tempfile
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

try:
    import torchvision  # noqa: F401
except ImportError:
    pass
except RuntimeError:  # a torchvision built for another torch: not used here, but transformers looks at it
    for _op in ("nms", "qnms"):
        torch.library.define(f"torchvision::{_op}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    HfArgumentParser,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    get_cosine_schedule_with_warmup,
    set_seed,
)

logger = logging.getLogger(__name__)

WORDS = 40  # ids 0 .. 39
BOS, EOS, PAD = 40, 41, 42


@dataclass
class ModelArguments:
    n_embd: int = field(default=48)
    n_layer: int = field(default=2)
    n_head: int = field(default=4)


@dataclass
class DataArguments:
    n_train: int = field(default=384)
    n_eval: int = field(default=64)
    max_len: int = field(default=18)
    data_seed: int = field(default=11)


class ToyLanguage(Dataset):
    """Every word is followed by one of three others; sentences of unequal length."""

    def __init__(self, n, max_len, seed, grammar_seed=5):
        g = np.random.default_rng(grammar_seed)
        follow = np.stack([g.permutation(WORDS)[:3] for _ in range(WORDS)])
        r = np.random.default_rng(seed)
        self.rows = []
        for _ in range(n):
            w = [int(r.integers(WORDS))]
            for _ in range(int(r.integers(8, max_len - 2))):
                w.append(int(follow[w[-1], r.choice(3, p=[0.7, 0.2, 0.1])]))
            self.rows.append([BOS] + w + [EOS])

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return {"input_ids": self.rows[i]}


def word_vectors(dataset, dim, scale=0.05):
    """A random projection of log counts of neighbours."""
    counts = np.zeros((WORDS + 3, WORDS + 3))
    for row in dataset.rows:
        for a, b in zip(row[:-1], row[1:]):
            counts[a, b] += 1
            counts[b, a] += 1
    proj = np.random.default_rng(0).normal(size=(WORDS + 3, dim))
    v = np.log1p(counts) @ proj
    v = v - v.mean(0)
    return torch.tensor(scale * v / v.std(), dtype=torch.float32)


def collate(features):
    longest = max(len(f["input_ids"]) for f in features)
    ids = torch.full((len(features), longest), PAD, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, f in enumerate(features):
        ids[i, : len(f["input_ids"])] = torch.tensor(f["input_ids"])
        mask[i, : len(f["input_ids"])] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def lm_loss(outputs, labels, num_items_in_batch=None):
    """Next-token cross entropy with a z-loss, as a mean over the tokens."""
    logits = outputs.logits[:, :-1].float()
    targets = labels[:, 1:]
    ce = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
    z = (torch.logsumexp(logits, dim=-1) ** 2)[targets != -100].mean()
    return ce + 1e-4 * z


class PrintLosses(TrainerCallback):
    def on_log(self, args, state, control, logs=None, **kwargs):
        shown = {k: v for k, v in (logs or {}).items() if k in ("loss", "eval_loss", "grad_norm", "learning_rate")}
        if shown:
            print(state.global_step, {k: round(float(v), 5) for k, v in shown.items()})


def main():
    parser = HfArgumentParser((ModelArguments, DataArguments))
    model_args, data_args = parser.parse_args_into_dataclasses()
    set_seed(42)

    train_dataset = ToyLanguage(data_args.n_train, data_args.max_len, seed=data_args.data_seed)
    eval_dataset = ToyLanguage(data_args.n_eval, data_args.max_len, seed=data_args.data_seed + 1)

    config = GPT2Config(
        vocab_size=WORDS + 3,
        n_positions=32,
        n_embd=model_args.n_embd,
        n_layer=model_args.n_layer,
        n_head=model_args.n_head,
        resid_pdrop=0.05,
        embd_pdrop=0.05,
        attn_pdrop=0.0,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        use_cache=False,
    )
    model = GPT2LMHeadModel(config)

    # start from word vectors; the output layer stays tied to them
    model.set_input_embeddings(nn.Embedding.from_pretrained(word_vectors(train_dataset, model_args.n_embd), freeze=False))
    model.tie_weights()

    decay = [p for n, p in model.named_parameters() if p.ndim >= 2]
    no_decay = [p for n, p in model.named_parameters() if p.ndim < 2]
    optimizer = torch.optim.SGD(
        [{"params": decay, "weight_decay": 1e-4}, {"params": no_decay, "weight_decay": 0.0}],
        lr=0.15,
        momentum=0.9,
        nesterov=True,
    )

    with tempfile.TemporaryDirectory() as output_dir:
        training_args = TrainingArguments(
            output_dir=output_dir,
            num_train_epochs=6,
            per_device_train_batch_size=8,
            per_device_eval_batch_size=32,
            gradient_accumulation_steps=4,
            max_grad_norm=1.0,
            logging_steps=12,
            eval_strategy="epoch",
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            seed=42,
        )
        steps_per_epoch = math.ceil(math.ceil(len(train_dataset) / 8) / 4)
        scheduler = get_cosine_schedule_with_warmup(optimizer, 6, int(steps_per_epoch * training_args.num_train_epochs))
        trainer = Trainer(
            model=model,
            args=training_args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            data_collator=collate,
            optimizers=(optimizer, scheduler),
            compute_loss_func=lm_loss,
            callbacks=[PrintLosses()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        metrics = trainer.evaluate()
        print("perplexity", round(math.exp(metrics["eval_loss"]), 3))

    h = hashlib.sha256()
    for p in model.parameters():
        h.update(p.detach().cpu().numpy().tobytes())
    print("digest", h.hexdigest())


if __name__ == "__main__":
    main()
