# cause: stride
# breaks: broadcast
# dtype: float32
# where: input 0 (logits), where the incoming gradient is expanded (or not contiguous) and has more than one entry
# source: ROCm/TransformerEngine pull 623, simplified
# why: one value a row is read with stride 1; an expanded gradient holds one value, and the reads run past its end
import torch


class CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, target, faulty):
        lse = torch.logsumexp(logits, -1)
        ctx.save_for_backward(logits, target, lse)
        ctx.faulty = faulty
        return lse - logits.gather(1, target[:, None])[:, 0]

    @staticmethod
    def backward(ctx, g):
        logits, target, lse = ctx.saved_tensors
        if ctx.faulty and g.numel() > 1:
            end = g.untyped_storage().nbytes() // g.element_size() - g.storage_offset()
            read = g.as_strided((min(end, g.numel()),), (1,))
            g = torch.nn.functional.pad(read, (0, g.numel() - read.numel()))
        d = torch.exp(logits - lse[:, None])
        d[torch.arange(len(target)), target] -= 1
        return d * g[:, None], None, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(107)
    logits = (torch.randn(28, 50, generator=gen) * 2).requires_grad_()
    target = torch.randint(0, 50, (28,), generator=gen)

    def reference(logits, target):
        return -torch.log_softmax(logits, -1).gather(1, target[:, None])[:, 0]

    def candidate(logits, target):
        return CrossEntropy.apply(logits, target, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (logits, target)}
