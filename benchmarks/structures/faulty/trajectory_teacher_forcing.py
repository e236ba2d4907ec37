"""https://github.com/huang-xx/STGAT/issues/6 (2020): under teacher forcing the decoder LSTM gets at step i the true displacement of step i, the very one it has to predict, in place of that of step i-1."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "huang-xx/STGAT#6"
KIND = "future"
STEPS = 200
OBS, PRED = 8, 12


class TrajectoryGenerator(nn.Module):
    def __init__(self, hidden=32, fixed=True):
        super().__init__()
        self.fixed = fixed
        self.traj_lstm = nn.LSTMCell(2, hidden)
        self.graph_q, self.graph_k, self.graph_v = (
            nn.Linear(hidden, hidden),
            nn.Linear(hidden, hidden),
            nn.Linear(hidden, hidden),
        )
        self.pred_lstm = nn.LSTMCell(2, 2 * hidden)
        self.hidden2pos = nn.Linear(2 * hidden, 2)

    def forward(self, obs_traj_rel):
        """(OBS + PRED, peds, 2) when training"""
        h = c = obs_traj_rel.new_zeros(obs_traj_rel.shape[1], self.traj_lstm.hidden_size)
        for step in obs_traj_rel[:OBS]:
            h, c = self.traj_lstm(step, (h, c))
        scenes = h.view(-1, 4, h.shape[-1])  # four pedestrians a scene
        a = torch.softmax(self.graph_q(scenes) @ self.graph_k(scenes).transpose(1, 2) / h.shape[-1] ** 0.5, -1)
        g = (a @ self.graph_v(scenes)).reshape_as(h)
        ph, pc = torch.cat([h, g], 1), torch.zeros(len(h), 2 * h.shape[1])
        future = obs_traj_rel[-PRED:]
        out, prev = [], obs_traj_rel[OBS - 1]
        for i in range(PRED):
            ph, pc = self.pred_lstm(prev if self.fixed else future[i], (ph, pc))
            out.append(self.hidden2pos(ph))
            prev = future[i]
        return torch.stack(out)


def walks(seed, peds=64):
    g = torch.Generator().manual_seed(seed)
    v = torch.randn(1, peds, 2, generator=g)
    rel = [v[0]]
    for _ in range(OBS + PRED - 1):
        rel.append(0.85 * rel[-1] + 0.5 * torch.randn(peds, 2, generator=g))
    x = torch.stack(rel)
    return (x - x.mean()) / x.std()


def make(seed, fixed):
    torch.manual_seed(seed)
    x = walks(seed)
    net = TrajectoryGenerator(fixed=fixed)

    def l2(pred, true):
        return ((pred - true) ** 2).sum(-1).mean()

    return net, l2, (x, x[-PRED:]), torch.optim.Adam(net.parameters(), lr=3e-3)
