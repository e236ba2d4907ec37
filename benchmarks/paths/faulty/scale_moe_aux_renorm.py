# cause: scale
# size: 0.05
# dtype: bfloat16
# where: router.weight
# source: Megatron-LM PR 3768 / 5007: scale of the MoE router auxiliary loss depends on TP size and top-k
# why: the attached balancing loss is divided by the tensor-parallel size (2) once more in backward only
import torch, torch.nn as nn, torch.nn.functional as F

E, K, D, TP = 6, 2, 40, 2


def aux_loss(probs, counts):
    n = probs.shape[0]
    return E * (probs.mean(0) * (counts.to(probs.dtype) / (n * K))).sum()


class AuxLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, probs, counts, factor):
        ctx.save_for_backward(counts)
        ctx.n, ctx.factor = probs.shape[0], factor
        return aux_loss(probs, counts)

    @staticmethod
    def backward(ctx, g):
        (counts,) = ctx.saved_tensors
        row = g * E * (counts.to(g.dtype) / (ctx.n * K)) / ctx.n
        return (row * ctx.factor).expand(ctx.n, E), None, None


class MoE(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(24, D)
        self.router = nn.Linear(D, E, bias=False)
        self.w1 = nn.Parameter(torch.randn(E, D, 56) / D ** 0.5)
        self.w2 = nn.Parameter(torch.randn(E, 56, D) / 56 ** 0.5)
        self.out = nn.Linear(D, 10)

    def aux(self, probs, counts):
        return aux_loss(probs, counts)

    def forward(self, x, target):
        h = self.inp(x)
        probs = torch.softmax(self.router(h), -1)
        w, idx = probs.topk(K, -1)
        counts = torch.bincount(idx.flatten(), minlength=E)
        y = h
        for e in range(E):
            hit = (idx == e)
            rows = hit.any(-1).nonzero().flatten()
            o = F.silu(h[rows] @ self.w1[e]) @ self.w2[e]
            y = y.index_add(0, rows, o * (w * hit).sum(-1)[rows, None])
        loss = F.cross_entropy(self.out(y), target)
        return loss + 0.011 * self.aux(probs, counts)


class FusedMoE(MoE):
    factor = 1.0

    def aux(self, probs, counts):
        return AuxLoss.apply(probs, counts, self.factor)


def case(faulty):
    torch.manual_seed(11)
    ref = MoE()
    ref.router.weight.data.mul_(0.8)
    ref.router.weight.data[0] += 0.12
    can = FusedMoE()
    can.load_state_dict(ref.state_dict())
    can.factor = 1.0 / TP if faulty else 1.0
    ref, can = ref.bfloat16(), can.bfloat16()
    x = (torch.randn(190, 24) + 0.3).bfloat16().requires_grad_()
    return {"reference": ref, "candidate": can, "inputs": (x, torch.randint(0, 10, (190,)))}
