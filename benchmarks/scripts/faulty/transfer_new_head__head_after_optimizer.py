# base: transfer_new_head
# rule: WP602
# cause: replaced
# line: model_ft.fc = nn.Linear(model_ft.fc.in_features, 5)
# why: the head is replaced after the optimizer was made: the old head is in the optimizer, the new one stays at its initial values.
"""Transfer learning: pretrain a small ResNet on digits 0-4, then fine-tune it for 5-9 with a new head."""
import copy
import hashlib
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from sklearn.datasets import load_digits
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(2024)


class BasicBlock(nn.Module):
    def __init__(self, i, o, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(i, o, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(o)
        self.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(o)
        self.down = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o)) if i != o else nn.Identity()

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.down(x))


class TinyResNet(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem = nn.Conv2d(1, 12, 3, padding=1)
        self.layer1 = BasicBlock(12, 12)
        self.layer2 = BasicBlock(12, 24, 2)
        self.fc = nn.Linear(24, num_classes)

    def forward(self, x):
        return self.fc(self.layer2(self.layer1(F.relu(self.stem(x)))).mean((2, 3)))


def loaders(lo, hi):
    d = load_digits()
    keep = (d.target >= lo) & (d.target < hi)
    x = torch.tensor(d.images[keep], dtype=torch.float32).unsqueeze(1) / 16 - 0.3
    y = torch.tensor(d.target[keep]) - lo
    k = int(len(x) * 0.8)
    return {"train": DataLoader(TensorDataset(x[:k], y[:k]), 32, shuffle=True),
            "val": DataLoader(TensorDataset(x[k:], y[k:]), 128)}


def train_model(model, dataloaders, criterion, optimizer, scheduler, num_epochs):
    since, best_acc, best = time.time(), 0.0, copy.deepcopy(model.state_dict())
    for epoch in range(num_epochs):
        for phase in ["train", "val"]:
            model.train() if phase == "train" else model.eval()
            running_loss, corrects, n = 0.0, 0, 0
            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * len(labels)
                corrects += (outputs.argmax(1) == labels).sum().item()
                n += len(labels)
            if phase == "train":
                scheduler.step()
            print(f"{epoch} {phase} Loss: {running_loss / n:.4f} Acc: {corrects / n:.4f}")
            if phase == "val" and corrects / n >= best_acc:
                best_acc, best = corrects / n, copy.deepcopy(model.state_dict())
    model.load_state_dict(best)
    return model, running_loss / n


criterion = nn.CrossEntropyLoss()
model_ft = TinyResNet(5)
optimizer_pre = optim.SGD(model_ft.parameters(), lr=0.05, momentum=0.9)
model_ft, _ = train_model(model_ft, loaders(0, 5), criterion, optimizer_pre, lr_scheduler.StepLR(optimizer_pre, 2, 0.3), 3)

# new task: new last layer, body at a tenth of the rate
print("--- fine-tuning on 5-9")
body = [p for n, p in model_ft.named_parameters() if not n.startswith("fc.")]
optimizer_ft = optim.SGD([{"params": body, "lr": 0.002}, {"params": model_ft.fc.parameters()}], lr=0.02, momentum=0.9)
exp_lr_scheduler = lr_scheduler.StepLR(optimizer_ft, step_size=3, gamma=0.3)
model_ft.fc = nn.Linear(model_ft.fc.in_features, 5)
model_ft, last = train_model(model_ft, loaders(5, 10), criterion, optimizer_ft, exp_lr_scheduler, num_epochs=4)

print(f"metric {last:.4f}")
print("digest", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model_ft.parameters())).hexdigest())
