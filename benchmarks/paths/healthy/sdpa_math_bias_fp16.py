# scaled_dot_product_attention with the math back end and an additive bias, float16
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def case():
    gen = torch.Generator().manual_seed(107)
    q, k, v = (torch.randn(1, 4, 41, 20, generator=gen).half().requires_grad_() for _ in range(3))
    bias = torch.randn(4, 41, 41, generator=gen).half().requires_grad_()

    def reference(q, k, v, bias):
        return (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + bias).softmax(-1) @ v

    def candidate(q, k, v, bias):
        with sdpa_kernel(SDPBackend.MATH):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v, bias)}
