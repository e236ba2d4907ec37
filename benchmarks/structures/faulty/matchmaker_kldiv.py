"""Distillation of a ranking model: the student scores K passages per query, the teacher's scores are given.

Fault: KLDivLoss gets the softmax of the student's scores where it wants log-probabilities.
Source: sebastian-hofstaetter/matchmaker issue 18 (2022), "typo in KLDivTeacherList?" (also microsoft/ProDA issue 43, 2022).
"""

import torch
import torch.nn as nn

KIND = "range"
Q, P, K = 16, 16, 8


class TwoTower(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.q = nn.Sequential(nn.Linear(Q, 64), nn.ReLU(), nn.Linear(64, d))
        self.p = nn.Sequential(nn.Linear(P, 64), nn.ReLU(), nn.Linear(64, d))
        self.scale = d**-0.5

    def forward(self, query, passages):
        return (self.q(query)[:, None] * self.p(passages)).sum(-1) * self.scale


class KLDivTeacherList(nn.Module):
    def __init__(self, log):
        super().__init__()
        self.kl = nn.KLDivLoss(reduction="batchmean")
        self.log = log

    def forward(self, scores, labels):
        student = scores.log_softmax(-1) if self.log else scores.softmax(-1)
        return self.kl(student, labels.softmax(-1))


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 32
    q, p = torch.randn(B, Q), torch.randn(B, K, P)
    W = torch.randn(Q, P) / Q**0.5
    teacher = torch.einsum("bq,qp,bkp->bk", q, W, p) / 1.5
    model = TwoTower()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    return model, KLDivTeacherList(log=fixed), ((q, p), teacher), opt
