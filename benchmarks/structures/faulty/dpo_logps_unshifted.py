"""https://github.com/wyf3/llm_related/issues/33 (2025): in DPO the log-probability of response token k is gathered from the logits at k itself (which has read that token), labels are not moved by one."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "wyf3/llm_related#33"
KIND = "targets"
STEPS = 100
V, PROMPT, RESP = 32, 8, 12


class Policy(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.emb = nn.Embedding(V, d)
        self.rnn = nn.GRU(d, d, 2, batch_first=True, dropout=0.0)
        self.lm = nn.Linear(d, V)

    def forward(self, ids):
        return self.lm(self.rnn(self.emb(ids))[0])


def logps(logits, ids, shift):
    if shift:
        logits, ids, first = logits[:, :-1], ids[:, 1:], PROMPT - 1
    else:
        first = PROMPT
    lp = F.log_softmax(logits, -1).gather(2, ids[..., None]).squeeze(2)
    return lp[:, first:].sum(1), lp[:, first:].mean()


def preferences(seed, B=16):
    g = torch.Generator().manual_seed(seed)
    p = torch.randint(0, V, (B, PROMPT), generator=g)
    good = (p[:, -1:] + torch.arange(1, RESP + 1) * 3 + torch.randint(0, 2, (B, RESP), generator=g)) % V
    bad = torch.randint(0, V, (B, RESP), generator=g)
    return torch.cat([torch.cat([p, good], 1), torch.cat([p, bad], 1)])


def make(seed, fixed, beta=0.1):
    torch.manual_seed(seed)
    policy, ref = Policy(), Policy()
    ref.load_state_dict(policy.state_dict())
    for q in ref.parameters():
        q.requires_grad_(False)
    ids = preferences(seed + 5)
    with torch.no_grad():
        rc, rr = logps(ref(ids), ids, fixed)[0].chunk(2)

    def loss(logits, ids):
        chosen, rejected = logps(logits, ids, fixed)[0].chunk(2)
        sft = -logps(logits[: len(ids) // 2], ids[: len(ids) // 2], fixed)[1]
        return -F.logsigmoid(beta * ((chosen - rc) - (rejected - rr))).mean() + sft

    return policy, loss, (ids, ids), torch.optim.AdamW(policy.parameters(), 2e-3)
