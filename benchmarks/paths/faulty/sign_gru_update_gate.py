# cause: sign
# size: 1.2
# dtype: float32
# where: w_hh
# source: textbook (hand-written fused GRU cell; h' = n + z (h - n))
# why: the update gate's gradient uses (n - h) where (h - n) is meant
import torch, torch.nn as nn, torch.nn.functional as F

H = 20


def cell(gi, gh, h):
    ir, iz, inn = gi.chunk(3, -1)
    hr, hz, hn = gh.chunk(3, -1)
    r, z = torch.sigmoid(ir + hr), torch.sigmoid(iz + hz)
    n = torch.tanh(inn + r * hn)
    return n + z * (h - n), r, z, n, hn


class GRUCell(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gi, gh, h, faulty):
        o, r, z, n, hn = cell(gi, gh, h)
        ctx.save_for_backward(r, z, n, hn, h)
        ctx.faulty = faulty
        return o

    @staticmethod
    def backward(ctx, do):
        r, z, n, hn, h = ctx.saved_tensors
        dz = do * ((n - h) if ctx.faulty else (h - n))
        da_n = do * (1 - z) * (1 - n * n)
        da_z = dz * z * (1 - z)
        da_r = da_n * hn * r * (1 - r)
        return torch.cat([da_r, da_z, da_n], -1), torch.cat([da_r, da_z, da_n * r], -1), do * z, None


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(50, 16)
        self.w_ih = nn.Parameter(torch.randn(3 * H, 16) * 0.3)
        self.w_hh = nn.Parameter(torch.randn(3 * H, H) * 0.2)
        self.b_ih = nn.Parameter(torch.zeros(3 * H))
        self.b_hh = nn.Parameter(torch.randn(3 * H) * 0.1)
        self.head = nn.Linear(H, 7)

    def step(self, gi, gh, h):
        return cell(gi, gh, h)[0]

    def forward(self, ids):
        x = F.linear(self.emb(ids), self.w_ih, self.b_ih)
        h = x.new_zeros(ids.shape[0], H)
        out = []
        for t in range(ids.shape[1]):
            h = self.step(x[:, t], F.linear(h, self.w_hh, self.b_hh), h)
            out.append(h)
        return self.head(torch.stack(out, 1))


class FastTagger(Tagger):
    faulty = False

    def step(self, gi, gh, h):
        return GRUCell.apply(gi, gh, h, self.faulty)


def case(faulty):
    torch.manual_seed(2)
    ref, can = Tagger(), FastTagger()
    can.load_state_dict(ref.state_dict())
    can.faulty = faulty
    return {"reference": ref, "candidate": can, "inputs": (torch.randint(0, 50, (6, 13)),)}
