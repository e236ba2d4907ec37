import torch
import torch.nn as nn
import wellposed as wp


class BiLSTM_CRF(nn.Module):
    def __init__(self, vocab=20, tags=4, emb=12, hid=16):
        super().__init__()
        self.emb = nn.Embedding(vocab, emb)
        self.lstm = nn.LSTM(emb, hid, bidirectional=True, batch_first=True)
        self.hidden2tag = nn.Linear(2 * hid, tags)
        self.transitions = nn.Parameter(torch.randn(tags, tags))
        self.start = nn.Parameter(torch.randn(tags))

    def log_partition(self, e):
        a = self.start + e[:, 0]
        for t in range(1, e.shape[1]):
            a = torch.logsumexp(a.unsqueeze(2) + self.transitions, dim=1) + e[:, t]
        return torch.logsumexp(a, dim=1)

    def gold(self, e, tags):
        s = self.start[tags[:, 0]] + e.gather(2, tags.unsqueeze(2)).squeeze(2).sum(1)
        return s + self.transitions[tags[:, :-1], tags[:, 1:]].sum(1)

    def neg_log_likelihood(self, words, tags):
        e = self.hidden2tag(self.lstm(self.emb(words))[0])
        return (self.log_partition(e) - self.gold(e, tags)).mean()


def problem():
    torch.manual_seed(0)
    words = torch.randint(0, 20, (24, 10))
    tags = (words % 4 + torch.cat([torch.zeros(24, 1).long(), words[:, :-1]], 1) // 10) % 4
    m = BiLSTM_CRF()
    return wp.TorchProblem(m, lambda net: net.neg_log_likelihood(words, tags),
                           optimizer=torch.optim.SGD(m.parameters(), lr=0.05, weight_decay=1e-4))
