"""https://github.com/graykode/nlp-tutorial/issues/38 (2019): final_state of shape (2, batch, hidden) is reshaped by view(-1, 2*hidden, 1); the two halves of a row come from different sentences."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "graykode/nlp-tutorial#38"
KIND = "order"
STEPS = 120


class BiLSTM_Attention(nn.Module):
    def __init__(self, vocab=80, emb=24, n_hidden=24, n_class=3, fixed=True):
        super().__init__()
        self.n_hidden, self.fixed = n_hidden, fixed
        self.embedding = nn.Embedding(vocab, emb)
        self.lstm = nn.LSTM(emb, n_hidden, bidirectional=True)
        self.out = nn.Linear(n_hidden * 2, n_class)

    def attention_net(self, lstm_output, final_state):
        if self.fixed:
            hidden = final_state.permute(1, 0, 2).reshape(-1, self.n_hidden * 2, 1)
        else:
            hidden = final_state.view(-1, self.n_hidden * 2, 1)
        w = torch.bmm(lstm_output, hidden).squeeze(2)
        soft = F.softmax(w, 1)
        context = torch.bmm(lstm_output.transpose(1, 2), soft.unsqueeze(2)).squeeze(2)
        return context + hidden.squeeze(2), soft

    def forward(self, X):
        inp = self.embedding(X).permute(1, 0, 2)
        output, (h, _) = self.lstm(inp)
        feat, attn = self.attention_net(output.permute(1, 0, 2), h)
        return self.out(feat), attn


def reviews(seed, B=48, T=14):
    g = torch.Generator().manual_seed(seed)
    polarity = torch.randn(80, generator=torch.Generator().manual_seed(3))
    x = torch.randint(0, 80, (B, T), generator=g)
    s = polarity[x].sum(1)
    return x, (s > 1).long() + (s > -1).long()


def make(seed, fixed):
    torch.manual_seed(seed)
    x, y = reviews(seed + 1)
    net = BiLSTM_Attention(fixed=fixed)
    return net, (lambda out, y: F.cross_entropy(out[0], y)), (x, y), torch.optim.Adam(net.parameters(), 3e-3)
