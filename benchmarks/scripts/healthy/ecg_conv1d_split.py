"""1-d convolution on synthetic heartbeats with noisy labels; train/validation/test split, best epoch kept."""
import copy
import hashlib

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

HP = {"epochs": 14, "batch_size": 24, "lr": 1e-3, "n": 480}


def heartbeats(n, g, flip=0.15):
    t = torch.linspace(-1, 1, 48)
    y = torch.randint(0, 3, (n,), generator=g)
    shift = (torch.rand(n, 1, generator=g) - 0.5) * 0.4
    width = torch.tensor([0.08, 0.16, 0.08])[y].unsqueeze(1)
    x = torch.exp(-((t - shift) ** 2) / (2 * width**2))
    x = x - (y == 2).float().unsqueeze(1) * 0.6 * torch.exp(-((t - shift - 0.25) ** 2) / 0.01)
    x = x + 0.35 * torch.randn(n, 48, generator=g)
    wrong = torch.rand(n, generator=g) < flip
    y = torch.where(wrong, torch.randint(0, 3, (n,), generator=g), y)
    return ((x - x.mean()) / x.std()).unsqueeze(1), y


class BeatNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(1, 24, 7, padding=3), nn.Conv1d(24, 48, 5, padding=2)
        self.fc1, self.fc2 = nn.Linear(48 * 12, 64), nn.Linear(64, 3)

    def forward(self, x):
        x = F.max_pool1d(F.relu(self.conv1(x)), 2)
        x = F.max_pool1d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def evaluate(model, loader):
    model.eval()
    loss = n = correct = 0
    with torch.no_grad():
        for x, y in loader:
            out = model(x)
            loss += F.cross_entropy(out, y, reduction="sum").item()
            correct += (out.argmax(1) == y).sum().item()
            n += len(y)
    return loss / n, correct / n


def main():
    torch.manual_seed(64)
    g = torch.Generator().manual_seed(64)
    full_set = TensorDataset(*heartbeats(HP["n"], g))
    test_set = TensorDataset(*heartbeats(400, g))
    train_set, val_set = random_split(full_set, [0.75, 0.25], generator=g)
    train_loader = DataLoader(train_set, batch_size=HP["batch_size"], shuffle=True)
    val_loader = DataLoader(val_set, batch_size=60)
    test_loader = DataLoader(test_set, batch_size=100)
    model = BeatNet()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=HP["lr"], momentum=0.0)
    best_val, best_state = float("inf"), None
    for epoch in range(HP["epochs"]):
        model.train()
        for x, y in train_loader:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        val_loss, val_acc = evaluate(model, val_loader)
        if val_loss < best_val:
            best_val, best_state = val_loss, copy.deepcopy(model.state_dict())
        print(f"epoch {epoch:2d} loss {loss.item():.4f} val loss {val_loss:.4f} val acc {val_acc:.4f}")
    model.load_state_dict(best_state)
    test_loss, test_acc = evaluate(model, test_loader)
    print(f"best val {best_val:.4f} test {test_loss:.4f} acc {test_acc:.4f}")
    print(f"metric {test_loss:.4f}")
    print("digest", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
