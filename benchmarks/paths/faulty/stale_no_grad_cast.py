# cause: stale-cache
# size: 1
# dtype: bfloat16
# where: parameter weight
# source: pytorch/pytorch issue 112583 and PR 165068 (autocast cache filled under no_grad loses the graph), rebuilt by hand
# why: the teacher pass under no_grad fills the cast cache, the student pass then reuses a cast without a history
import torch
from torch import nn


def _low(dtype):
    return torch.bfloat16 if dtype == torch.float32 else dtype


class CastCache:
    def __init__(self, grad_aware):
        self.store, self.grad_aware = {}, grad_aware

    def __call__(self, name, p, dtype):
        key = (name, torch.is_grad_enabled()) if self.grad_aware else name
        if key not in self.store:
            self.store[key] = p.to(dtype)
        return self.store[key]


class Ref(nn.Module):
    def __init__(self, w, b):
        super().__init__()
        self.weight, self.bias = nn.Parameter(w.clone()), nn.Parameter(b.clone())

    def forward(self, clean, noisy):
        teacher = (clean @ self.weight.t() + self.bias).detach().softmax(-1)
        student = noisy @ self.weight.t() + self.bias
        return student, -(teacher * student.log_softmax(-1)).sum(-1)


class Distill(Ref):
    def __init__(self, w, b, faulty):
        super().__init__(w, b)
        self.faulty = faulty

    def forward(self, clean, noisy):
        cast, low = CastCache(not self.faulty), _low(noisy.dtype)
        lin = lambda x: torch.nn.functional.linear(x.to(low), cast("w", self.weight, low)) + self.bias
        with torch.no_grad():
            teacher = lin(clean).softmax(-1)
        student = lin(noisy)
        return student, -(teacher * student.log_softmax(-1)).sum(-1)


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(52)
    w = torch.randn(26, 40, generator=gen) / 40 ** 0.5
    b = torch.randn(26, generator=gen) * 0.1
    clean = torch.randn(90, 40, generator=gen)
    noisy = (clean + 0.3 * torch.randn(90, 40, generator=gen)).requires_grad_()
    return {"reference": Ref(w, b), "candidate": Distill(w, b, faulty), "inputs": (clean, noisy)}
