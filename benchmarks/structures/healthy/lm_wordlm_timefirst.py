"""PyTorch word_language_model style, [T, N] layout"""

import torch
from torch import nn

torch.set_num_threads(1)


def markov(g, n, L, V, first=3):
    """token streams from a peaked random chain over ids first..V-1"""
    P = (2.0 * torch.randn(V - first, V - first, generator=g)).softmax(-1)
    x = torch.empty(n, L, dtype=torch.long)
    x[:, 0] = torch.randint(0, V - first, (n,), generator=g)
    for t in range(1, L):
        x[:, t] = torch.multinomial(P[x[:, t - 1]], 1, generator=g)[:, 0]
    return x + first


class RNNModel(nn.Module):
    def __init__(self, V=40, e=48, h=48):
        super().__init__()
        self.drop, self.encoder, self.rnn, self.decoder = (
            nn.Dropout(0.2),
            nn.Embedding(V, e),
            nn.GRU(e, h, 2, dropout=0.2),
            nn.Linear(h, V),
        )
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        self.V = V

    def forward(self, x):  # [T, N]
        out, _ = self.rnn(self.drop(self.encoder(x)))
        return self.decoder(self.drop(out)).view(-1, self.V)


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    stream = markov(g, 1, 20 * 36, 40, first=0)[0]
    data = stream.view(20, 36).t().contiguous()
    x, y = data[:35], data[1:36].reshape(-1)
    m = RNNModel()
    return m, nn.CrossEntropyLoss(), (x, y), torch.optim.Adam(m.parameters(), lr=4e-3)
