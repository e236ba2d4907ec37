# cause: stale-cache
# size: 0.22
# dtype: float16
# where: 0
# source: transformers dynamic NTK RoPE: cached cos/sin of another sequence length
# why: the backward rotation takes the module's cached tables, which a shorter warm-up sequence filled
import torch

D, BASE, MAXPOS = 24, 100.0, 16


def tables(s):
    base = BASE * max(1.0, (2.0 * s / MAXPOS - 1)) ** (D / (D - 2))
    inv = base ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
    ang = torch.arange(64, dtype=torch.float64)[:, None] * inv
    return ang.cos().repeat(1, 2), ang.sin().repeat(1, 2)


def half(x):
    a, b = x.chunk(2, -1)
    return torch.cat([-b, a], -1)


class Rope(torch.autograd.Function):
    cache = None

    @staticmethod
    def forward(ctx, x, cos, sin, cached):
        ctx.save_for_backward(*((t[:x.shape[-2]] for t in Rope.cache) if cached else (cos, sin)))
        return x * cos.to(x.dtype) + half(x) * sin.to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        cos, sin = (t.to(dy.dtype) for t in ctx.saved_tensors)
        return dy * cos - half(dy * sin), None, None, None


def case(faulty):
    torch.manual_seed(28)
    q, k, v = ((torch.randn(2, 3, 30, D)).half().requires_grad_() for _ in range(3))

    def attn(q, k, v):
        return ((q @ k.transpose(-1, -2)) * D ** -0.5).softmax(-1) @ v

    def reference(q, k, v):
        cos, sin = (t[:q.shape[-2]].to(q.dtype) for t in tables(q.shape[-2]))
        return attn(q * cos + half(q) * sin, k * cos + half(k) * sin, v)

    Rope.cache = tables(24)

    def candidate(q, k, v):
        cos, sin = (t[:q.shape[-2]] for t in tables(q.shape[-2]))
        return attn(Rope.apply(q, cos, sin, faulty), Rope.apply(k, cos, sin, faulty), v)

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v)}
