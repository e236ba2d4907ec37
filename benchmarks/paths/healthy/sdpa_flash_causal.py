# scaled_dot_product_attention with the flash back end (CPU), causal, bf16, against plain operations
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def case():
    gen = torch.Generator().manual_seed(106)
    q, k, v = (torch.randn(2, 3, 67, 32, generator=gen).bfloat16().requires_grad_() for _ in range(3))

    def reference(q, k, v):
        s = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        m = torch.ones(s.shape[-2:], dtype=torch.bool).triu(1)
        return s.masked_fill(m, float("-inf")).softmax(-1) @ v

    def candidate(q, k, v):
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v)}
