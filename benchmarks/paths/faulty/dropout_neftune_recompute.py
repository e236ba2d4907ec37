# cause: new-dropout
# size: 0.014
# dtype: bfloat16
# where: ln.weight
# source: transformers / trl NEFTune noise under a hand-written offloading checkpoint (unsloth style)
# why: the recomputation of the first block adds a second draw of the embedding noise
import torch, torch.nn as nn, torch.nn.functional as F

ALPHA = 0.13


class Recompute(torch.autograd.Function):
    @staticmethod
    def forward(ctx, fn, x, *params):
        ctx.fn = fn
        ctx.save_for_backward(x)
        ctx.params = params
        with torch.no_grad():
            return fn(x)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            y = ctx.fn(x)
        return (None, *torch.autograd.grad(y, (x, *ctx.params), dy))


class LM(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(61, 34)
        self.ln = nn.LayerNorm(34)
        self.fc1, self.fc2 = nn.Linear(34, 70), nn.Linear(70, 34)

    def noise(self, e):
        g = torch.Generator().manual_seed(123)
        mag = ALPHA / (e.shape[1] * e.shape[2]) ** 0.5
        return (torch.rand(e.shape, generator=g) * 2 - 1).mul(mag).to(e.dtype)

    def block(self, e):
        h = e + self.noise(e)
        return h + self.fc2(F.gelu(self.fc1(self.ln(h))))

    def forward(self, ids):
        return self.block(self.emb(ids)) @ self.emb.weight.t()


class CkptLM(LM):
    faulty = False

    def noise(self, e):
        g = self.gen if self.faulty else torch.Generator().manual_seed(123)
        mag = ALPHA / (e.shape[1] * e.shape[2]) ** 0.5
        return (torch.rand(e.shape, generator=g) * 2 - 1).mul(mag).to(e.dtype)

    def forward(self, ids):
        self.gen = torch.Generator().manual_seed(123)
        ps = [*self.ln.parameters(), *self.fc1.parameters(), *self.fc2.parameters()]
        return Recompute.apply(self.block, self.emb(ids), *ps) @ self.emb.weight.t()


def case(faulty):
    torch.manual_seed(26)
    ref, can = LM(), CkptLM()
    ref.emb.weight.data.mul_(0.5)
    can.load_state_dict(ref.state_dict())
    can.faulty = faulty
    return {"reference": ref.bfloat16(), "candidate": can.bfloat16(), "inputs": (torch.randint(0, 61, (4, 15)),)}
