import torch
import torch.nn as nn
import torch.nn.functional as F
import wellposed as wp


class LinkPredictor(nn.Module):
    """matrix factorisation with biases, implicit feedback"""

    def __init__(self, n_users, n_items, k=8):
        super().__init__()
        self.user = nn.Embedding(n_users, k)
        self.item = nn.Embedding(n_items, k)
        self.user_b = nn.Embedding(n_users, 1)
        self.item_b = nn.Embedding(n_items, 1)
        for e in (self.user, self.item):
            nn.init.normal_(e.weight, std=0.1)
        nn.init.zeros_(self.user_b.weight)
        nn.init.zeros_(self.item_b.weight)

    def forward(self, pairs):
        u, i = pairs[:, 0], pairs[:, 1]
        return (self.user(u) * self.item(i)).sum(-1) + self.user_b(u).squeeze(-1) + self.item_b(i).squeeze(-1)


def cross_entropy(score, y):
    log_p = F.logsigmoid(score)
    log_not_p = F.logsigmoid(-score)
    return (y * log_p + (1 - y) * log_not_p).mean()


def problem():
    torch.manual_seed(0)
    taste, kind = torch.randn(30, 3), torch.randn(40, 3)
    pairs = torch.stack([torch.randint(0, 30, (600,)), torch.randint(0, 40, (600,))], 1)
    p = torch.sigmoid((taste[pairs[:, 0]] * kind[pairs[:, 1]]).sum(-1))
    y = torch.bernoulli(p)
    model = LinkPredictor(30, 40)
    opt = torch.optim.Adagrad(model.parameters(), lr=0.05)
    return wp.TorchProblem(model, cross_entropy, (pairs, y), optimizer=opt)
