import torch
import torch.nn as nn
import wellposed as wp


class DeepSurv(nn.Module):
    def __init__(self, dims=(12, 48, 48, 1), drop=0.0):
        super().__init__()
        layers = []
        for i, (a, b) in enumerate(zip(dims[:-1], dims[1:])):
            layers.append(nn.Linear(a, b))
            if i < len(dims) - 2:
                layers += [nn.SELU(), nn.Dropout(drop)]
        self.model = nn.Sequential(*layers)

    def forward(self, X):
        return self.model(X).squeeze(1)


class NegativeLogPartialLikelihood(nn.Module):
    def forward(self, risk, y):
        time, event = y["time"], y["event"]
        at_risk = time.unsqueeze(0) >= time.unsqueeze(1)      # row i: subjects in the risk set of i
        use = (event == 1) & at_risk.any(dim=1)
        masked = risk.unsqueeze(0).masked_fill(~at_risk, float("-inf"))
        log_cum = torch.logsumexp(masked[use], dim=1)
        return -(risk[use] - log_cum).sum() / use.sum()


def problem():
    torch.manual_seed(0)
    X = torch.randn(80, 12)
    hazard = torch.exp(X[:, :3].sum(1) * 0.6)
    T = torch.distributions.Exponential(hazard).sample()
    C = torch.distributions.Exponential(0.5).sample((80,))
    y = {"time": torch.minimum(T, C), "event": (T <= C).float()}
    model = DeepSurv()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return wp.TorchProblem(model, NegativeLogPartialLikelihood(), (X, y), optimizer=optimizer)
