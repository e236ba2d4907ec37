import torch
import torch.nn as nn
import wellposed as wp


class TasNetLite(nn.Module):
    def __init__(self, N=16, L=8):
        super().__init__()
        self.encoder = nn.Conv1d(1, N, L, stride=L // 2, bias=False)
        self.mask = nn.Sequential(nn.GroupNorm(1, N), nn.Conv1d(N, 24, 3, padding=1), nn.PReLU(),
                                  nn.Conv1d(24, 24, 3, padding=2, dilation=2), nn.PReLU(), nn.Conv1d(24, N, 1), nn.Sigmoid())
        self.decoder = nn.ConvTranspose1d(N, 1, L, stride=L // 2, bias=False)

    def forward(self, mix):
        w = torch.relu(self.encoder(mix.unsqueeze(1)))
        return self.decoder(w * self.mask(w)).squeeze(1)


def si_snr_loss(est, ref, eps=1e-8):
    est = est - est.mean(-1, keepdim=True)
    ref = ref - ref.mean(-1, keepdim=True)
    proj = (est * ref).sum(-1, keepdim=True) * ref / (ref.pow(2).sum(-1, keepdim=True) + eps)
    noise = est - proj
    ratio = proj.pow(2).sum(-1) / (noise.pow(2).sum(-1) + eps)
    return -(10 * torch.log10(ratio + eps)).mean()


def problem():
    torch.manual_seed(0)
    t = torch.arange(256) / 256
    ref = torch.sin(6.28 * (4 + 8 * torch.rand(24, 1)) * t)
    mix = ref + 0.5 * torch.randn(24, 256)
    net = TasNetLite()
    return wp.TorchProblem(net, si_snr_loss, (mix, ref), optimizer=torch.optim.Adam(net.parameters(), lr=1e-3))
