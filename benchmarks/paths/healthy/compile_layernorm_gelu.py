# torch.compile (aot_eager) of layer norm + gelu + linear in bf16
import torch


def case():
    gen = torch.Generator().manual_seed(109)
    x = (torch.randn(50, 44, generator=gen) * 3).bfloat16().requires_grad_()
    g = (1 + 0.1 * torch.randn(44, generator=gen)).bfloat16().requires_grad_()
    b = (0.1 * torch.randn(44, generator=gen)).bfloat16().requires_grad_()
    w = (torch.randn(19, 44, generator=gen) / 44 ** 0.5).bfloat16().requires_grad_()

    def reference(x, g, b, w):
        c = x - x.mean(-1, keepdim=True)
        y = c / ((c * c).mean(-1, keepdim=True) + 1e-5).sqrt() * g + b
        return torch.nn.functional.gelu(y) @ w.t()

    def fast(x, g, b, w):
        y = torch.nn.functional.layer_norm(x, x.shape[-1:], g, b, 1e-5)
        return torch.nn.functional.linear(torch.nn.functional.gelu(y), w)

    return {"reference": reference, "candidate": torch.compile(fast, backend="aot_eager", dynamic=False), "inputs": (x, g, b, w)}
