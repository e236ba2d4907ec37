# attention where some query rows see no key at all: both ways give zero there, without NaN in the gradient
import torch


def case():
    gen = torch.Generator().manual_seed(139)
    q, k, v = (torch.randn(3, 27, 15, generator=gen).requires_grad_() for _ in range(3))
    mask = torch.rand(3, 27, 27, generator=gen) < 0.6
    mask[0, 4] = mask[1, 20] = mask[2, 26] = False

    def reference(q, k, v, mask):
        s = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).masked_fill(~mask, float("-inf"))
        alive = mask.any(-1, keepdim=True)
        p = torch.where(alive, s, torch.zeros_like(s)).softmax(-1) * alive
        return p @ v

    def candidate(q, k, v, mask):
        s = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        m = s.detach().masked_fill(~mask, float("-inf")).amax(-1, keepdim=True).clamp_min(-1e4)
        e = torch.exp((s - m).masked_fill(~mask, -1e4)) * mask
        z = e.sum(-1, keepdim=True)
        return (e @ v) / torch.where(z > 0, z, torch.ones_like(z))

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v, mask)}
