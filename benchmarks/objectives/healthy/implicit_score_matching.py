import torch
import torch.nn as nn
import wellposed as wp


class ScoreNet(nn.Module):
    def __init__(self, d=2, h=32):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d, h), nn.Softplus(), nn.Linear(h, h), nn.Softplus(), nn.Linear(h, d))

    def forward(self, x):
        return self.net(x)


def problem():
    torch.manual_seed(0)
    comp = (torch.rand(512) < 0.7).float().unsqueeze(1)
    data = comp * 1.5 - (1 - comp) * 1.5 + 0.6 * torch.randn(512, 2)

    def ism(score):
        x = data[torch.randint(0, 512, (128,))] + 0.05 * torch.randn(128, 2)
        x.requires_grad_(True)
        s = score(x)
        trace = 0.
        for i in range(x.shape[1]):
            trace = trace + torch.autograd.grad(s[:, i].sum(), x, create_graph=True)[0][:, i]
        return (trace + 0.5 * (s ** 2).sum(1)).mean()

    model = ScoreNet()
    return wp.TorchProblem(model, ism, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3))
