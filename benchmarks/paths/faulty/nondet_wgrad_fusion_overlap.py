# cause: nondeterministic
# size: 0.062
# dtype: bfloat16
# where: fc2.weight
# source: Megatron-LM gradient accumulation fusion overlapped with the all-reduce (missing stream synchronisation)
# why: the main-grad buffer is read while a random tile of one microbatch has not been added yet
import os, torch, torch.nn as nn, torch.nn.functional as F


class AccLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, racy):
        ctx.save_for_backward(x, w)
        ctx.racy = racy
        return F.linear(x, w, b)

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        main = torch.zeros_like(w, dtype=torch.float32 if w.dtype != torch.float64 else w.dtype)
        g = torch.Generator().manual_seed(int.from_bytes(os.urandom(6), "little"))
        for xm, gm in zip(x.flatten(0, 1).chunk(8), dy.flatten(0, 1).chunk(8)):
            part = gm.to(main.dtype).t() @ xm.to(main.dtype)
            if ctx.racy:
                r = int(torch.randint(0, part.shape[0], (1,), generator=g))
                part[r, :3] = 0
            main += part
        return dy @ w, main.to(w.dtype), dy.flatten(0, 1).sum(0), None


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln = nn.LayerNorm(26)
        self.fc1, self.fc2, self.fc3 = nn.Linear(26, 40), nn.Linear(40, 33), nn.Linear(33, 8)

    def mid(self, h):
        return self.fc2(h)

    def forward(self, x):
        return self.fc3(F.gelu(self.mid(F.gelu(self.fc1(self.ln(x))))))


class RacyBlock(Block):
    racy = False

    def mid(self, h):
        return AccLinear.apply(h, self.fc2.weight, self.fc2.bias, self.racy)


def case(faulty):
    torch.manual_seed(32)
    ref, can = Block(), RacyBlock()
    can.load_state_dict(ref.state_dict())
    can.racy = faulty
    x = torch.randn(9, 16, 26).bfloat16().requires_grad_()
    return {"reference": ref.bfloat16(), "candidate": can.bfloat16(), "inputs": (x,)}
