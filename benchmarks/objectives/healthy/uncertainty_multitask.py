import torch
import torch.nn as nn
import wellposed as wp


class MultiTask(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Sequential(nn.Conv1d(2, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool1d(4), nn.Flatten())
        self.reg_head = nn.Linear(32, 1)
        self.cls_head = nn.Linear(32, 3)
        self.log_vars = nn.Parameter(torch.zeros(2))      # s_i = log sigma_i^2  (Kendall et al. 2018)

    def forward(self, x):
        h = self.shared(x)
        return {"reg": self.reg_head(h).squeeze(1), "cls": self.cls_head(h), "s": self.log_vars}


def weighted(out, target):
    losses = torch.stack([
        nn.functional.mse_loss(out["reg"], target["reg"]),
        nn.functional.cross_entropy(out["cls"], target["cls"])])
    return (torch.exp(-out["s"]) * losses + out["s"]).sum()


def problem():
    torch.manual_seed(0)
    x = torch.randn(128, 2, 16)
    amp = x.abs().mean(dim=(1, 2))
    target = {"reg": 0.3 * amp + 0.05 * torch.randn(128), "cls": torch.bucketize(amp + .03 * torch.randn(128), torch.tensor([.75, .85]))}
    m = MultiTask()
    return wp.TorchProblem(m, weighted, (x, target), optimizer=torch.optim.Adam(m.parameters(), lr=2e-3))
