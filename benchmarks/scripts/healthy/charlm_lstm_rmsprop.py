"""Character-level language model: stacked LSTM, RMSprop, hidden state carried over chunks."""
import argparse
import hashlib
import math

import torch
import torch.nn as nn

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=6)
parser.add_argument("--seq_len", type=int, default=24)
parser.add_argument("--batch_size", type=int, default=16)
parser.add_argument("--hidden", type=int, default=64)
parser.add_argument("--lr", type=float, default=3e-3)
parser.add_argument("--decay_rate", type=float, default=0.95)
parser.add_argument("--grad_clip", type=float, default=5.0)
parser.add_argument("--seed", type=int, default=123)
opt = parser.parse_args()
torch.manual_seed(opt.seed)

words = ["alder", "birch", "cedar", "fir", "hazel", "larch", "maple", "oak", "poplar", "rowan", "spruce", "willow"]
picks = torch.randint(0, len(words), (2600,)).tolist()
text = " ".join(words[i] + ("," if k % 7 == 6 else "") for k, i in enumerate(picks))
vocab = sorted(set(text))
stoi = {c: i for i, c in enumerate(vocab)}
data = torch.tensor([stoi[c] for c in text])
split = int(len(data) * 0.9)


def to_columns(x, bsz):
    n = len(x) // bsz
    return x[: n * bsz].view(bsz, n)


train_cols = to_columns(data[:split], opt.batch_size)
val_cols = to_columns(data[split:], opt.batch_size)


class CharRNN(nn.Module):
    def __init__(self, n_vocab, hidden):
        super().__init__()
        self.embed = nn.Embedding(n_vocab, 32)
        self.rnn = nn.LSTM(32, hidden, num_layers=2, batch_first=True, dropout=0.1)
        self.decode = nn.Linear(hidden, n_vocab)

    def forward(self, x, state=None):
        h, state = self.rnn(self.embed(x), state)
        return self.decode(h), state


model = CharRNN(len(vocab), opt.hidden)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.RMSprop(model.parameters(), lr=opt.lr, alpha=opt.decay_rate)


def evaluate():
    model.eval()
    total, count, state = 0.0, 0, None
    with torch.no_grad():
        for i in range(0, val_cols.size(1) - 1 - opt.seq_len, opt.seq_len):
            logits, state = model(val_cols[:, i : i + opt.seq_len], state)
            y = val_cols[:, i + 1 : i + 1 + opt.seq_len]
            total += criterion(logits.flatten(0, 1), y.flatten()).item()
            count += 1
    model.train()
    return total / count


for epoch in range(opt.epochs):
    state = None
    running = 0.0
    for n, i in enumerate(range(0, train_cols.size(1) - 1 - opt.seq_len, opt.seq_len)):
        x = train_cols[:, i : i + opt.seq_len]
        y = train_cols[:, i + 1 : i + 1 + opt.seq_len]
        optimizer.zero_grad()
        logits, state = model(x, state)
        state = tuple(s.detach() for s in state)
        loss = criterion(logits.flatten(0, 1), y.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), opt.grad_clip)
        optimizer.step()
        running += loss.item()
    val = evaluate()
    print(f"epoch {epoch} train {running / (n + 1):.4f} val {val:.4f} ppl {math.exp(val):.2f}")

print(f"metric {val:.4f}")
digest = hashlib.sha256()
for p in model.parameters():
    digest.update(p.detach().numpy().tobytes())
print("digest", digest.hexdigest())
