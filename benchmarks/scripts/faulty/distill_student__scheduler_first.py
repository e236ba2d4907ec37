# base: distill_student
# rule: WP604
# cause: too-early
# line: scheduler.step()
# why: scheduler.step() at the top of the epoch (old style): the first rate is never used and all of the training runs at half the rate.
"""Knowledge distillation: a wide teacher, a narrow student, temperature-softened KL plus cross entropy."""
import argparse
import hashlib

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_classification
from torch.optim.lr_scheduler import ExponentialLR, OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--T", type=float, default=3.0)
parser.add_argument("--alpha", type=float, default=0.7)
parser.add_argument("--student-epochs", type=int, default=6)
parser.add_argument("--gamma", type=float, default=0.5)


def build(width, depth):
    layers, i = [], 20
    for _ in range(depth):
        layers += [nn.Linear(i, width), nn.ReLU()]
        i = width
    return nn.Sequential(*layers, nn.Linear(i, 6))


def kd_loss(s, t, y, T, alpha):
    soft = F.kl_div(F.log_softmax(s / T, 1), F.log_softmax(t / T, 1), reduction="batchmean", log_target=True) * T * T
    return alpha * soft + (1 - alpha) * F.cross_entropy(s, y)


def evaluate(net, loader):
    net.eval()
    with torch.no_grad():
        pairs = [(net(x), y) for x, y in loader]
    out, y = torch.cat([p[0] for p in pairs]), torch.cat([p[1] for p in pairs])
    return (out.argmax(1) == y).float().mean().item(), F.cross_entropy(out, y).item()


def main(args):
    torch.manual_seed(31)
    X, y = make_classification(3000, 20, n_informative=12, n_redundant=2, n_classes=6, n_clusters_per_class=2,
                               class_sep=1.6, flip_y=0.01, random_state=4)
    X = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
    y = torch.tensor(y)
    train_loader = DataLoader(TensorDataset(X[:2200], y[:2200]), batch_size=64, shuffle=True)
    test_loader = DataLoader(TensorDataset(X[2200:], y[2200:]), batch_size=400)

    teacher = build(128, 3)
    opt_t = torch.optim.Adam(teacher.parameters(), lr=1e-3)
    sched_t = OneCycleLR(opt_t, max_lr=4e-3, epochs=8, steps_per_epoch=len(train_loader))
    for epoch in range(8):
        teacher.train()
        for xb, yb in train_loader:
            opt_t.zero_grad()
            F.cross_entropy(teacher(xb), yb).backward()
            opt_t.step()
            sched_t.step()
    print("teacher acc %.4f loss %.4f" % evaluate(teacher, test_loader))
    for p in teacher.parameters():
        p.requires_grad = False

    student = build(24, 1)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.03, momentum=0.9)
    scheduler = ExponentialLR(optimizer, gamma=args.gamma)
    for epoch in range(args.student_epochs):
        scheduler.step()
        student.train()
        total = 0.0
        for xb, yb in train_loader:
            with torch.no_grad():
                t_logits = teacher(xb)
            loss = kd_loss(student(xb), t_logits, yb, args.T, args.alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        acc, ce = evaluate(student, test_loader)
        print("student epoch %d kd %.4f acc %.4f ce %.4f" % (epoch, total / len(train_loader), acc, ce))
    print("metric %.4f" % ce)
    print("digest", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in student.parameters())).hexdigest())


if __name__ == "__main__":
    main(parser.parse_args())
