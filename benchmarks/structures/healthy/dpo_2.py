"""Direct preference optimisation: shifted log-probs of chosen and rejected answers (prompt and padding masked by
the loss mask), the reference model's log-probs are constants in the targets."""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

V, PAD, D, P, T = 34, 0, 48, 6, 18


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok, self.rnn, self.head = nn.Embedding(V, D, PAD), nn.GRU(D, 64, batch_first=True), nn.Linear(64, V)

    def seq_logp(self, ids, mask):
        logits = self.head(self.rnn(self.tok(ids))[0])[:, :-1]
        logp = logits.log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
        return (logp * mask[:, 1:]).sum(-1)

    def forward(self, chosen, rejected):
        def mask(ids):
            return ((torch.arange(T)[None] >= P) & (ids != PAD)).float()

        return self.seq_logp(chosen, mask(chosen)), self.seq_logp(rejected, mask(rejected))


def make(seed):
    torch.manual_seed(seed)
    B = 16
    prompt = torch.randint(1, V, (B, P))

    def answers(good):
        a = torch.randint(1, V // 2, (B, T - P)) + (V // 2 if good else 0)
        n = torch.randint(6, T - P + 1, (B,))
        return torch.cat([prompt, a * (torch.arange(T - P)[None] < n[:, None])], 1)

    chosen, rejected = answers(True), answers(False)
    model = Policy()
    with torch.no_grad():
        ref_c, ref_r = copy.deepcopy(model)(chosen, rejected)

    def loss(o, ref):
        return -F.logsigmoid(0.2 * ((o[0] - ref[0]) - (o[1] - ref[1]))).mean()

    return model, loss, ((chosen, rejected), (ref_c, ref_r)), torch.optim.Adam(model.parameters(), lr=1e-3)
