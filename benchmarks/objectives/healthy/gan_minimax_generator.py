import torch
import torch.nn as nn
import wellposed as wp


def block(i, o):
    return [nn.Linear(i, o), nn.BatchNorm1d(o), nn.LeakyReLU(0.2)]


def problem():
    """generator step of the original minimax game: min_G E log(1 - D(G(z)))"""
    torch.manual_seed(0)
    G = nn.Sequential(*block(10, 32), *block(32, 32), nn.Linear(32, 16), nn.Tanh())
    D = nn.Sequential(nn.Linear(16, 32), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(32, 1), nn.Sigmoid())
    z = torch.randn(64, 10)

    def g_loss(gen):
        d_fake = D(gen(z))
        return torch.mean(torch.log(1 - d_fake + 1e-8))

    return wp.TorchProblem(G, g_loss, optimizer=torch.optim.SGD(G.parameters(), lr=0.01, momentum=0.9))
