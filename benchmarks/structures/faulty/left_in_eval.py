"""https://github.com/pytorch/tutorials/issues/1624 (2021): model.eval() from the test loop is never undone, the net (BatchNorm, dropout) trains in eval mode with untouched statistics."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "pytorch/tutorials#1624"
KIND = "mode"
STEPS = 150


class KeywordNet(nn.Module):
    def __init__(self, f=16, c=32, classes=5):
        super().__init__()
        blk = lambda i, o, s: nn.Sequential(nn.Conv1d(i, o, 5, s, 2, bias=False), nn.BatchNorm1d(o), nn.ReLU())
        self.net = nn.Sequential(blk(f, c, 1), blk(c, c, 2), blk(c, c, 2))
        self.drop, self.fc = nn.Dropout(0.2), nn.Linear(c, classes)

    def forward(self, mel):
        return self.fc(self.drop(self.net(mel).mean(-1)))


def data(seed, n=96, f=16, T=32, classes=5):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, classes, (n,), generator=g)
    tmpl = torch.randn(classes, f, 8, generator=torch.Generator().manual_seed(1))
    x = torch.randn(n, f, T, generator=g)
    for i in range(n):
        a = int(torch.randint(0, T - 8, (1,), generator=g))
        x[i, :, a : a + 8] += tmpl[y[i]]
    return (x - x.mean()) / x.std(), y


def evaluate(model, batch):
    model.eval()
    with torch.no_grad():
        return float((model(batch[0]).argmax(-1) == batch[1]).float().mean())


def make(seed, fixed):
    torch.manual_seed(seed)
    m = KeywordNet()
    b = data(1)
    evaluate(m, data(2))  # accuracy before the first epoch
    if fixed:
        m.train()
    return m, nn.CrossEntropyLoss(label_smoothing=0.05), b, torch.optim.AdamW(m.parameters(), 2e-3)
