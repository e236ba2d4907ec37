# base: amp_scaler
# rule: WP603
# cause: before-unscale
# line: nn.utils.clip_grad_norm_(model.parameters(), args.clip_grad_norm)
# why: the still scaled gradients (scale 1e5 and more) are clipped to norm 1 and then unscaled, so every SGD step is about 1e-5 of what it should be and nothing is learned
"""Mixed-precision training of a small convolutional classifier with GradScaler, saved half-way and resumed.

In the shape of the `--amp --resume` reference scripts: everything that the run needs is in the checkpoint.
"""
import argparse
import hashlib
import os
import random
import tempfile

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Digits(Dataset):
    def __init__(self, images, labels, transform=None):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        x = self.images[i]
        if self.transform is not None:
            x = self.transform(x)
        return x, self.labels[i]


class RandomShift:
    def __init__(self, generator):
        self.generator = generator

    def __call__(self, x):
        s = torch.randint(-1, 2, (2,), generator=self.generator).tolist()
        return torch.roll(x, s, dims=(-2, -1))


class ConvNet(nn.Module):
    def __init__(self, width=16, num_classes=10, dropout=0.1):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(2 * width * 16, num_classes))

    def forward(self, x):
        return self.classifier(self.features(x))


def prepare_data(seed):
    d = load_digits()
    x = torch.from_numpy(d.images).float().unsqueeze(1) / 16.0
    x = (x - 0.305) / 0.376
    y = torch.from_numpy(d.target).long()
    perm = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    x, y = x[perm], y[perm]
    n = 896
    return (x[:n], y[:n]), (x[n:], y[n:])


def make_all(args):
    """New model, optimizer, scheduler, scaler, data generator and loader."""
    (xtr, ytr), _ = prepare_data(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    train_set = Digits(xtr, ytr, transform=RandomShift(generator))
    loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True, drop_last=True, generator=generator)
    model = ConvNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=1e-4, nesterov=True)
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=args.warmup),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs * len(loader) - args.warmup),
        ],
        milestones=[args.warmup],
    )
    scaler = torch.amp.GradScaler("cpu", enabled=True, init_scale=args.init_scale, growth_interval=args.growth_interval)
    return model, optimizer, scheduler, scaler, generator, loader


def train_one_epoch(model, criterion, optimizer, scheduler, scaler, loader, epoch, args):
    model.train()
    for i, (image, target) in enumerate(loader):
        with torch.autocast("cpu", dtype=torch.float16):
            output = model(image)
            loss = criterion(output, target)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), args.clip_grad_norm)
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scale = scaler.get_scale()
        scaler.update()
        if scaler.get_scale() >= scale:  # no step was taken where the gradients overflowed
            scheduler.step()
        if i % 10 == 0:
            print(f"Epoch: [{epoch}] [{i}/{len(loader)}] loss {loss.item():.4f} "
                  f"lr {scheduler.get_last_lr()[0]:.4f} scale {scaler.get_scale():.0f}")


def evaluate(model, criterion, loader):
    model.eval()
    correct = total = 0
    loss_sum = 0.0
    with torch.inference_mode():
        for image, target in loader:
            output = model(image)
            loss_sum += criterion(output, target).item() * len(target)
            correct += (output.argmax(1) == target).sum().item()
            total += len(target)
    print(f"Test: loss {loss_sum / total:.4f} acc {correct / total:.4f}")
    return correct / total


def save_checkpoint(path, model, optimizer, scheduler, scaler, generator, epoch):
    checkpoint = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
        "scaler": scaler.state_dict(),
        "generator": generator.get_state(),
        "torch_rng": torch.get_rng_state(),
        "epoch": epoch,
    }
    torch.save(checkpoint, path)


def load_checkpoint(path, model, optimizer, scheduler, scaler, generator):
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    scheduler.load_state_dict(checkpoint["lr_scheduler"])
    scaler.load_state_dict(checkpoint["scaler"])
    generator.set_state(checkpoint["generator"])
    torch.set_rng_state(checkpoint["torch_rng"])
    return checkpoint["epoch"] + 1


def main(args):
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    _, (xte, yte) = prepare_data(args.seed)
    test_loader = DataLoader(Digits(xte, yte), batch_size=128)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)

    model, optimizer, scheduler, scaler, generator, loader = make_all(args)
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(args.output_dir or tmp, "checkpoint.pth")
        epoch = 0
        while epoch < args.epochs:
            train_one_epoch(model, criterion, optimizer, scheduler, scaler, loader, epoch, args)
            evaluate(model, criterion, test_loader)
            if epoch + 1 == args.stop_after:
                # the job ends here and is started again
                save_checkpoint(path, model, optimizer, scheduler, scaler, generator, epoch)
                model, optimizer, scheduler, scaler, generator, loader = make_all(args)
                epoch = load_checkpoint(path, model, optimizer, scheduler, scaler, generator)
                print(f"resumed, next epoch {epoch}")
            else:
                epoch += 1

    sha = hashlib.sha256()
    for p in model.parameters():
        sha.update(p.detach().numpy().tobytes())
    print("digest", sha.hexdigest())


def get_args_parser():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", default=4, type=int)
    parser.add_argument("--batch-size", default=64, type=int)
    parser.add_argument("--lr", default=0.05, type=float)
    parser.add_argument("--warmup", default=10, type=int, help="steps")
    parser.add_argument("--clip-grad-norm", default=1.0, type=float)
    parser.add_argument("--init-scale", default=2.0 ** 24, type=float)
    parser.add_argument("--growth-interval", default=50, type=int)
    parser.add_argument("--stop-after", default=2, type=int, help="epochs after which to save and resume; 0: never")
    parser.add_argument("--output-dir", default="", type=str)
    parser.add_argument("--seed", default=0, type=int)
    return parser


if __name__ == "__main__":
    main(get_args_parser().parse_args())
