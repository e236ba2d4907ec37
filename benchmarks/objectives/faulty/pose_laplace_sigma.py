import math
import torch
import torch.nn as nn
import wellposed as wp


class PoseHead(nn.Module):
    """regresses joint angles and a per-joint uncertainty from image features"""

    def __init__(self, feat=32, joints=6):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(feat, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 64), nn.ReLU())
        self.pose = nn.Linear(64, joints)
        self.sigma = nn.Sequential(nn.Linear(64, joints), nn.Softplus())

    def forward(self, f):
        h = self.trunk(f)
        return {"pose": self.pose(h), "sigma": self.sigma(h)}


def loss_body_pose(pred, gt):
    sigma = pred["sigma"] + 1e-6
    err = torch.abs(gt["pose"] - pred["pose"])
    nll = (torch.log(2 * sigma) + err) / (math.sqrt(2) * sigma)
    return nll[gt["has_gt"] == 1].mean()


def problem():
    torch.manual_seed(0)
    f = torch.randn(256, 32)
    pose = torch.tanh(f @ torch.randn(32, 6) * 0.3)
    pose = pose + 0.2 * torch.distributions.Laplace(0., 1.).sample((256, 6))
    gt = {"pose": pose, "has_gt": (torch.rand(256) < 0.8).long()}
    model = PoseHead()
    return wp.TorchProblem(model, loss_body_pose, (f, gt),
                           optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3))
