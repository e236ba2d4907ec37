"""https://github.com/labmlai/annotated_deep_learning_paper_implementations/issues/66 (2021): distillation term compares the large model's logits with themselves; constant."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "labmlai/annotated_deep_learning_paper_implementations#66"
KIND = "terms"
STEPS = 200
C, TEMP = 8, 3.0


class Small(nn.Module):
    def __init__(self, c=16):
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv2d(3, c, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(c, 2 * c, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.out = nn.Linear(8 * c, C)

    def forward(self, img):
        return self.out(self.f(img))


def data(seed, n=128):
    g = torch.Generator().manual_seed(seed)
    proto = torch.randn(C, 3, 12, 12, generator=torch.Generator().manual_seed(4))
    proto = F.avg_pool2d(F.pad(proto, (1, 1, 1, 1)), 3, 1)
    y = torch.randint(0, C, (n,), generator=g)
    x = proto[y] + 0.6 * torch.randn(n, 3, 12, 12, generator=g)
    large = -(x[:, None] - proto).square().mean((2, 3, 4)) * 60
    large = large - large.mean(1, keepdim=True)  # a very good large model
    noisy = torch.where(torch.rand(n, generator=g) < 0.2, torch.randint(0, C, (n,), generator=g), y)
    return (x - x.mean()) / x.std(), (noisy, large)


def make(seed, fixed):
    torch.manual_seed(seed)
    m = Small()

    def loss(output, target):
        label, large_logits = target
        soft = (large_logits / TEMP).softmax(-1)
        temp_prob = ((output if fixed else large_logits) / TEMP).log_softmax(-1)
        return 0.1 * F.cross_entropy(output, label) + 0.9 * TEMP**2 * F.kl_div(temp_prob, soft, reduction="batchmean")

    return m, loss, data(1), torch.optim.Adam(m.parameters(), 3e-3)
