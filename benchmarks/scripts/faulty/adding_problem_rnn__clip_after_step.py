# base: adding_problem_rnn
# rule: WP603
# cause: after-step
# line: torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=CLIP)
# why: clipping comes after the step and does nothing; the ReLU RNN is thrown about by large gradients and learns next to nothing.
"""The adding problem with a plain RNN: SGD and clipping, batches made on the fly."""
import hashlib
import time

import torch
import torch.nn as nn

torch.manual_seed(8)
T, BATCH, STEPS, LR, CLIP = 14, 64, 500, 0.04, 0.5
gen = torch.Generator().manual_seed(21)


def adding_batch(n):
    values = torch.rand(n, T, generator=gen) * 2 - 1
    marks = torch.zeros(n, T)
    first = torch.randint(0, T // 2, (n, 1), generator=gen)
    second = torch.randint(T // 2, T, (n, 1), generator=gen)
    marks.scatter_(1, first, 1.0).scatter_(1, second, 1.0)
    return torch.stack([values, marks], 2), (values * marks).sum(1, keepdim=True)


class Adder(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.rnn = nn.RNN(2, hidden, nonlinearity="relu", batch_first=True)
        nn.init.eye_(self.rnn.weight_hh_l0)
        nn.init.zeros_(self.rnn.bias_hh_l0)
        nn.init.zeros_(self.rnn.bias_ih_l0)
        nn.init.normal_(self.rnn.weight_ih_l0, std=0.1)
        self.read = nn.Linear(hidden, 1)

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.read(out[:, -1])


model = Adder()
optimizer = torch.optim.SGD(model.parameters(), lr=LR)
loss_fn = nn.MSELoss()
model.train()
start = time.time()
avg = None
for step in range(1, STEPS + 1):
    x, y = adding_batch(BATCH)
    pred = model(x)
    loss = loss_fn(pred, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=CLIP)
    avg = loss.item() if avg is None else 0.95 * avg + 0.05 * loss.item()
    if step % 100 == 0:
        print(f"step {step:4d} loss {avg:.4f}")

with torch.no_grad():
    x, y = adding_batch(1000)
    test = loss_fn(model(x), y).item()
print(f"metric {test:.4f}")
print("digest", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
