import torch
import torch.nn as nn
import torch.nn.functional as F
import wellposed as wp


class EmbeddingNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.convnet = nn.Sequential(nn.Conv2d(1, 8, 3), nn.PReLU(), nn.MaxPool2d(2, stride=2),
                                     nn.Conv2d(8, 16, 3), nn.PReLU(), nn.MaxPool2d(2, stride=2))
        self.fc = nn.Sequential(nn.Linear(16 * 2 * 2, 32), nn.PReLU(), nn.Linear(32, 2))

    def forward(self, x):
        out = self.convnet(x)
        return self.fc(out.view(out.size(0), -1))


class TripletNet(nn.Module):
    def __init__(self, embedding_net):
        super().__init__()
        self.embedding_net = embedding_net

    def forward(self, triplet):
        a, p, n = triplet
        return self.embedding_net(a), self.embedding_net(p), self.embedding_net(n)


class TripletLoss(nn.Module):
    def __init__(self, margin=1.0):
        super().__init__()
        self.margin = margin

    def forward(self, embeddings, _):
        anchor, positive, negative = embeddings
        distance_positive = (anchor - positive).pow(2).sum(1)
        distance_negative = (anchor - negative).pow(2).sum(1)
        losses = distance_positive - distance_negative + self.margin
        return losses.mean()


def problem():
    torch.manual_seed(0)
    proto = torch.randn(4, 1, 14, 14)
    ya = torch.randint(0, 4, (48,))
    yn = (ya + torch.randint(1, 4, (48,))) % 4
    noisy = lambda y: proto[y] + 0.5 * torch.randn(48, 1, 14, 14)
    batch = ((noisy(ya), noisy(ya), noisy(yn)), ya)
    model = TripletNet(EmbeddingNet())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return wp.TorchProblem(model, TripletLoss(), batch, optimizer=optimizer)
