import torch
import torch.nn as nn
import wellposed as wp


class SpikeGLM(nn.Module):
    """predicts log firing rate from stimulus and spike history"""

    def __init__(self, stim=15, hist=8):
        super().__init__()
        self.stim = nn.Conv1d(1, 1, stim)
        self.hist = nn.Conv1d(1, 1, hist, bias=False)
        nn.init.zeros_(self.hist.weight)

    def forward(self, b):
        s = self.stim(b["stimulus"])
        h = self.hist(b["spikes"])
        n = min(s.shape[-1], h.shape[-1])
        return s[..., -n:] + h[..., -n:]


def problem():
    torch.manual_seed(0)
    stim = torch.randn(4, 1, 300)
    k = torch.exp(-torch.arange(15.) / 4).flip(0).view(1, 1, -1) * 0.5
    rate = torch.exp(nn.functional.conv1d(stim, k) + 1.5)
    y = torch.poisson(rate)
    spikes = nn.functional.pad(y, (8, 0))[..., :-1]
    m = SpikeGLM()
    return wp.TorchProblem(m, nn.PoissonNLLLoss(log_input=True), ({"stimulus": stim, "spikes": spikes}, y),
                           optimizer=torch.optim.Adam(m.parameters(), lr=1e-2))
