# cause: forward
# size: 0.9
# dtype: float32
# where: down.weight most, then up.weight and up.bias, and the input; down.bias is right
# source: openai/guided-diffusion issue 167; allenai/OLMo-core pull 828
# why: the recomputation in the backward draws a new dropout mask; the generator's state is not put back
import torch
from torch import nn


class Recompute(torch.autograd.Function):
    @staticmethod
    def forward(ctx, run, generator, keep_state, x, *params):
        ctx.run, ctx.generator, ctx.keep_state = run, generator, keep_state
        ctx.state = generator.get_state()
        ctx.save_for_backward(x, *params)
        return run(x, generator)

    @staticmethod
    def backward(ctx, g):
        x, *params = ctx.saved_tensors
        if ctx.keep_state:
            ctx.generator.set_state(ctx.state)
        with torch.enable_grad():
            again = x.detach().requires_grad_()
            y = ctx.run(again, ctx.generator)
            return None, None, None, *torch.autograd.grad(y, (again, *params), g)


class Block(nn.Module):
    def __init__(self, recompute, keep_state=True):
        super().__init__()
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)
        self.recompute, self.keep_state = recompute, keep_state

    def run(self, x, generator):
        h = torch.nn.functional.gelu(self.up(x))
        keep = (torch.rand(h.shape, generator=generator) < 0.7).to(h.dtype) / 0.7
        return x + self.down(h * keep)

    def forward(self, x):
        generator = torch.Generator().manual_seed(5)
        if not self.recompute:
            return self.run(x, generator)
        return Recompute.apply(self.run, generator, self.keep_state, x, *self.parameters())


def case(faulty: bool) -> dict:
    torch.manual_seed(301)
    reference, candidate = Block(False), Block(True, keep_state=not faulty)
    candidate.load_state_dict(reference.state_dict())
    x = torch.randn(12, 16).requires_grad_()
    return {"reference": reference, "candidate": candidate, "inputs": (x,)}
