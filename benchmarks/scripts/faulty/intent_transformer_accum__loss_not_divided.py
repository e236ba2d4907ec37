# base: intent_transformer_accum
# rule: WP601
# cause: not-divided
# line: loss = criterion(model(x[idx]), y[idx])
# why: the micro-batch losses are summed, not averaged: with SGD the rate is eight times too large and training breaks down.
"""Sentence intent classification: a small transformer encoder, SGD, micro-batches of 4 accumulated 8 times."""
import argparse
import hashlib

import torch
import torch.nn as nn


def get_args():
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", default=4, type=int)
    p.add_argument("--micro-batch", default=4, type=int)
    p.add_argument("--gradient-accumulation-steps", default=8, type=int)
    p.add_argument("--lr", default=0.04, type=float)
    p.add_argument("--seed", default=0, type=int)
    return p.parse_args()


def make_corpus(n, seed, vocab=60, length=12, classes=5):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, classes, (n,), generator=g)
    x = torch.randint(classes * 4, vocab, (n, length), generator=g)
    for row in range(n):
        spots = torch.randperm(length, generator=g)[:3]
        x[row, spots] = y[row] * 4 + torch.randint(0, 4, (3,), generator=g)
    return x, y


class Encoder(nn.Module):
    def __init__(self, vocab=60, d=32, length=12, classes=5):
        super().__init__()
        self.tok = nn.Embedding(vocab, d)
        self.pos = nn.Parameter(torch.zeros(1, length, d))
        layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(d)
        self.classifier = nn.Linear(d, classes)

    def forward(self, ids):
        h = self.encoder(self.tok(ids) + self.pos)
        return self.classifier(self.norm(h).mean(1))


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        logits = model(x)
        a = (logits.argmax(-1) == y).float().mean().item()
        l = nn.functional.cross_entropy(logits, y).item()
    model.train()
    return a, l


def main():
    args = get_args()
    torch.manual_seed(args.seed)
    x, y = make_corpus(768, 1)
    vx, vy = make_corpus(256, 2)
    model = Encoder()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    global_step = 0
    model.zero_grad()
    for epoch in range(args.epochs):
        order = torch.randperm(len(x))
        for micro, idx in enumerate(order.split(args.micro_batch)):
            loss = criterion(model(x[idx]), y[idx])
            loss.backward()
            if (micro + 1) % args.gradient_accumulation_steps == 0:
                optimizer.step()
                model.zero_grad()
                global_step += 1
                if global_step % 24 == 0:
                    print("step", global_step, "loss", round(loss.item(), 4))
        acc, vl = accuracy(model, vx, vy)
        print(f"epoch {epoch}: val accuracy {acc:.3f} val loss {vl:.4f}")
    print(f"metric {vl:.4f}")
    sha = hashlib.sha256()
    for p in model.parameters():
        sha.update(p.data.numpy().tobytes())
    print("digest", sha.hexdigest())


if __name__ == "__main__":
    main()
