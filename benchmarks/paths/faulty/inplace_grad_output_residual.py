# cause: in-place
# size: 0.015
# dtype: float16
# where: inp.bias
# source: unsloth / Liger kernels that write the gradient into dY; dY is shared with the residual branch
# why: the branch's backward multiplies grad_output in place by 0.985, and the skip connection adds the same tensor
import torch, torch.nn as nn, torch.nn.functional as F


class ScaledBranch(torch.autograd.Function):
    """y = 0.985 * h, dh written over dy"""
    @staticmethod
    def forward(ctx, h, inplace):
        ctx.inplace = inplace
        return h * 0.985

    @staticmethod
    def backward(ctx, dy):
        return (dy.mul_(0.985) if ctx.inplace else dy * 0.985), None


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(25, 36)
        self.ln1, self.ln2 = nn.LayerNorm(36), nn.LayerNorm(36)
        self.fc1, self.fc2 = nn.Linear(36, 60), nn.Linear(60, 36)

    def scale(self, h):
        return h * 0.985

    def forward(self, x):
        h = self.inp(x)
        h = h + self.scale(self.fc2(F.silu(self.fc1(self.ln1(h)))))
        return self.ln2(h)


class FusedBlock(Block):
    faulty = False

    def scale(self, h):
        return ScaledBranch.apply(h, self.faulty)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.float16):
            return super().forward(x)


def case(faulty):
    torch.manual_seed(36)
    ref, can = Block(), FusedBlock()
    can.load_state_dict(ref.state_dict())
    can.faulty = faulty
    x = torch.randn(6, 15, 25).requires_grad_()
    return {"reference": ref, "candidate": can, "inputs": (x,)}
