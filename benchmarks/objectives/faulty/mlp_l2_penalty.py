import torch
import torch.nn as nn
import wellposed as wp


def make_model():
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))


def problem():
    torch.manual_seed(0)
    X = torch.randn(200, 10)
    y = (X @ torch.randn(10, 3) + 0.5 * torch.randn(200, 3)).argmax(1)
    model = make_model()
    criterion = nn.CrossEntropyLoss()
    l2_lambda = 0.01

    def loss(net):
        ce = criterion(net(X), y)
        l2_reg = torch.tensor(0.)
        for name, p in net.named_parameters():
            if 'weight' in name:
                l2_reg = l2_reg + p.pow(2).sum()
        return ce - l2_lambda * l2_reg

    return wp.TorchProblem(model, loss, optimizer=torch.optim.SGD(model.parameters(), lr=0.05))
