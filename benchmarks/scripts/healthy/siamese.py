from __future__ import print_function

import argparse
import hashlib

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from sklearn.datasets import load_digits
from torch.optim.lr_scheduler import StepLR


class SiameseNetwork(nn.Module):
    """Two pictures go through the same convolutional trunk; the loss looks at
    the distance of the two embeddings."""

    def __init__(self, dim=16):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.fc = nn.Sequential(nn.Linear(32 * 4 * 4, 64), nn.ReLU(inplace=True), nn.Linear(64, dim))
        self.apply(self.init_weights)

    def init_weights(self, m):
        if isinstance(m, nn.Linear):
            torch.nn.init.xavier_uniform_(m.weight)
            m.bias.data.fill_(0.01)

    def forward_once(self, x):
        return self.fc(torch.flatten(self.features(x), 1))

    def forward(self, input1, input2):
        return self.forward_once(input1), self.forward_once(input2)


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=2.0):
        super().__init__()
        self.margin = margin

    def forward(self, out1, out2, same):
        d = F.pairwise_distance(out1, out2)
        return torch.mean(same * d.pow(2) + (1 - same) * F.relu(self.margin - d).pow(2))


def make_pairs(images, labels, n, generator):
    """n pairs, half of them of one digit, half of two."""
    by_digit = [torch.where(labels == d)[0] for d in range(10)]

    def pick(d):
        group = by_digit[d]
        return group[torch.randint(len(group), (1,), generator=generator).item()]

    left, right, same = [], [], []
    for k in range(n):
        a = torch.randint(10, (1,), generator=generator).item()
        b = a if k % 2 == 0 else (a + torch.randint(1, 10, (1,), generator=generator).item()) % 10
        left.append(pick(a))
        right.append(pick(b))
        same.append(float(a == b))
    return images[torch.stack(left)], images[torch.stack(right)], torch.tensor(same)


def train(args, model, device, pairs, criterion, optimizer, scaler, epoch):
    model.train()
    left, right, same = pairs
    for batch_idx in range(0, len(same) // args.batch_size):
        rows = slice(batch_idx * args.batch_size, (batch_idx + 1) * args.batch_size)
        input1, input2, target = left[rows].to(device), right[rows].to(device), same[rows].to(device)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device_type=device.type, dtype=torch.bfloat16):
            output1, output2 = model(input1, input2)
        loss = criterion(output1.float(), output2.float(), target)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_value_(model.parameters(), args.clip_value)
        scaler.step(optimizer)
        scaler.update()
        if batch_idx % args.log_interval == 0:
            print('Train Epoch: {} [{}/{}]\tLoss: {:.6f}'.format(
                epoch, batch_idx * args.batch_size, len(same), loss.item()))


def test(model, device, pairs, criterion):
    model.eval()
    with torch.no_grad():
        left, right, same = (t.to(device) for t in pairs)
        output1, output2 = model(left, right)
        loss = criterion(output1, output2, same).item()
        near = F.pairwise_distance(output1, output2) < criterion.margin / 2
        correct = near.eq(same > 0.5).float().mean().item()
    print('\nTest set: Average loss: {:.4f}, Accuracy: {:.1f}%\n'.format(loss, 100 * correct))


def main():
    parser = argparse.ArgumentParser(description='Siamese network example')
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--epochs', type=int, default=6)
    parser.add_argument('--lr', type=float, default=1.0)
    parser.add_argument('--gamma', type=float, default=0.8)
    parser.add_argument('--clip-value', type=float, default=1.0)
    parser.add_argument('--seed', type=int, default=5)
    parser.add_argument('--log-interval', type=int, default=8)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    device = torch.device('cpu')

    digits = load_digits()
    images = (torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16.0 - 0.3) / 0.37
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels))
    images, labels = images[order], labels[order]
    g = torch.Generator().manual_seed(args.seed)
    left, right, same = make_pairs(images[:1400], labels[:1400], 1536, g)
    test_pairs = make_pairs(images[1400:], labels[1400:], 400, g)

    model = SiameseNetwork().to(device)
    criterion = ContrastiveLoss()
    optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
    scaler = torch.amp.GradScaler(device.type)

    for epoch in range(1, args.epochs + 1):
        perm = torch.randperm(len(same))
        left, right = left[perm], right[perm]
        same = same[perm]
        train(args, model, device, (left, right, same), criterion, optimizer, scaler, epoch)
        test(model, device, test_pairs, criterion)
        scheduler.step()

    h = hashlib.sha256()
    for p in model.parameters():
        h.update(p.detach().numpy().tobytes())
    print('digest', h.hexdigest())


if __name__ == '__main__':
    main()
