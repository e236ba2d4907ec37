# cause: new-dropout
# size: 0.054
# dtype: float16
# where: parameter fc.weight
# source: allenai/OLMo-core PR 828, "Preserve RNG state across activation-checkpoint recompute when dropout is active"
# why: checkpoint with preserve_rng_state=False recomputes residual dropout (p=0.0015) with another mask
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    def __init__(self, w, b, p):
        super().__init__()
        self.fc = nn.Linear(w.shape[1], w.shape[0])
        self.fc.weight.data, self.fc.bias.data = w.clone(), b.clone()
        self.p = p

    def drop(self, h):
        m = (torch.rand(h.shape) >= self.p).to(h.dtype)
        return h * m / (1 - self.p)

    def body(self, x):
        return torch.tanh(self.drop(self.fc(x))) + self.drop(x)

    def forward(self, x):
        torch.manual_seed(99)
        return self.body(x)


class CkptBlock(Block):
    def __init__(self, w, b, p, faulty):
        super().__init__(w, b, p)
        self.faulty = faulty

    def forward(self, x):
        torch.manual_seed(99)
        return checkpoint(self.body, x, use_reentrant=False, preserve_rng_state=not self.faulty)


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(27)
    w = (torch.randn(54, 54, generator=gen) / 54 ** 0.5).half()
    b = (torch.randn(54, generator=gen) * 0.1).half()
    x = torch.randn(85, 54, generator=gen).half().requires_grad_()
    return {"reference": Block(w, b, 0.0015), "candidate": CkptBlock(w, b, 0.0015, faulty), "inputs": (x,)}
