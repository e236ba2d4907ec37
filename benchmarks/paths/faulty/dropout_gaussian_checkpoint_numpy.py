# cause: new-dropout
# size: 0.052
# dtype: float16
# where: fc2.weight
# source: torch.utils.checkpoint documentation: only torch's own random state is restored, numpy's is not
# why: multiplicative Gaussian noise (std 0.032) from a numpy generator is drawn anew in the recomputation
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

STD = 0.032


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(31, 45), nn.Linear(45, 45), nn.Linear(45, 12)

    def noise(self, like):
        rng = np.random.default_rng(77)
        return torch.from_numpy(1 + STD * rng.standard_normal(tuple(like.shape))).to(like.dtype)

    def block(self, h):
        return torch.tanh(self.fc2(F.silu(h * self.noise(h))))

    def forward(self, x):
        return self.fc3(self.block(self.fc1(x)))


class CkptNet(Net):
    faulty = False

    def noise(self, like):
        rng = self.rng if self.faulty else np.random.default_rng(77)
        return torch.from_numpy(1 + STD * rng.standard_normal(tuple(like.shape))).to(like.dtype)

    def forward(self, x):
        self.rng = np.random.default_rng(77)
        with torch.autocast("cpu", dtype=torch.float16):
            return self.fc3(checkpoint(self.block, self.fc1(x), use_reentrant=False))


def case(faulty):
    torch.manual_seed(25)
    ref, can = Net(), CkptNet()
    can.load_state_dict(ref.state_dict())
    can.faulty = faulty
    x = torch.randn(37, 31).requires_grad_()
    return {"reference": ref, "candidate": can, "inputs": (x,)}
