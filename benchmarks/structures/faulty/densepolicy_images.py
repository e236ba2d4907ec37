"""Visuomotor policy: camera image [B, H, W, 3] and gripper state to a two-dimensional action.

Fault: the image is brought to channels-first by reshape in place of permute, which mixes colour
channels with pixels.
Source: Selen-Suyue/DensePolicy2D issue 3 (2025), "a mirror question about inference code".
"""

import torch
import torch.nn as nn

KIND = "order"
S = 20


class Policy(nn.Module):
    def __init__(self, permute):
        super().__init__()
        self.permute = permute
        self.cnn = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, 1, 1),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Linear(32 * 25 + 3, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, img, state):
        B, H, W, C = img.shape
        x = img.permute(0, 3, 1, 2) if self.permute else img.reshape(B, C, H, W)
        return self.head(torch.cat([self.cnn(x).flatten(1), state], -1))


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 32
    goal, other = torch.rand(B, 2), torch.rand(B, 2)
    yy, xx = torch.meshgrid(torch.linspace(0, 1, S), torch.linspace(0, 1, S), indexing="ij")

    def blob(c):
        return torch.exp(-((xx - c[:, :1, None]) ** 2 + (yy - c[:, 1:, None]) ** 2) / 0.012)

    img = 0.2 * torch.rand(B, S, S, 3)
    img[..., 0] += blob(goal)  # red: go there; blue: a distractor
    img[..., 2] += blob(other)
    img = (img - img.mean((0, 1, 2))) / img.std((0, 1, 2))
    state = torch.randn(B, 3)
    action = goal + 0.1 * state[:, :2]
    action = (action - action.mean(0)) / action.std(0)
    model = Policy(permute=fixed)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    return model, nn.MSELoss(), ((img, state), action), opt
