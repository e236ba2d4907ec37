# base: accel_tagger_linear
# rule: WP604
# cause: too-early
# line: lr_scheduler.step()
# why: the schedule is stepped twice per optimizer step: warm-up and decay are over at half time, the second half has rate zero.
"""Sequence tagging with accelerate: gradient accumulation, prepared scheduler with warm-up and linear decay."""
import argparse
import hashlib

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

N_TAGS, VOCAB = 4, 40


def sentences(n, seed, length=16):
    """A token's tag depends on itself and on the token before it."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, VOCAB, (n, length), generator=g)
    prev = torch.cat([torch.zeros(n, 1, dtype=torch.long), ids[:, :-1]], 1)
    return TensorDataset(ids, (ids % 2) * 2 + (prev % 2))


class Tagger(nn.Module):
    def __init__(self, d=40):
        super().__init__()
        self.emb = nn.Embedding(VOCAB, d)
        self.gru = nn.GRU(d, d, bidirectional=True, batch_first=True)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(2 * d, N_TAGS)

    def forward(self, ids):
        return self.out(self.drop(self.gru(self.emb(ids))[0]))


def main(args):
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=args.accumulate)
    set_seed(args.seed)
    train_dataloader = DataLoader(sentences(1280, 1), batch_size=16, shuffle=True)
    eval_dataloader = DataLoader(sentences(256, 2), batch_size=64)
    model = Tagger()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    total = args.epochs * len(train_dataloader) // args.accumulate
    warmup = total // 10

    def factor(step):
        if step < warmup:
            return (step + 1) / warmup
        return max(0.0, (total - step) / (total - warmup))

    lr_scheduler = LambdaLR(optimizer, factor)
    model, optimizer, train_dataloader, eval_dataloader, lr_scheduler = accelerator.prepare(
        model, optimizer, train_dataloader, eval_dataloader, lr_scheduler)
    loss_fn = nn.CrossEntropyLoss()

    for epoch in range(args.epochs):
        model.train()
        for step, (ids, tags) in enumerate(train_dataloader):
            with accelerator.accumulate(model):
                loss = loss_fn(model(ids).flatten(0, 1), tags.flatten())
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                lr_scheduler.step()
                optimizer.zero_grad()
            lr_scheduler.step()
        model.eval()
        losses, right = [], []
        for ids, tags in eval_dataloader:
            with torch.no_grad():
                logits = model(ids)
            logits, tags = accelerator.gather_for_metrics((logits, tags))
            losses.append(loss_fn(logits.flatten(0, 1), tags.flatten()))
            right.append((logits.argmax(-1) == tags).float().mean())
        val = torch.stack(losses).mean().item()
        accelerator.print(f"epoch {epoch}: loss {loss.item():.4f} val {val:.4f} acc {torch.stack(right).mean().item():.4f} "
                          f"lr {lr_scheduler.get_last_lr()[0]:.2e}")
    accelerator.print(f"metric {val:.4f}")
    m = accelerator.unwrap_model(model)
    accelerator.print("digest", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in m.parameters())).hexdigest())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--accumulate", type=int, default=2)
    parser.add_argument("--seed", type=int, default=42)
    main(parser.parse_args())
