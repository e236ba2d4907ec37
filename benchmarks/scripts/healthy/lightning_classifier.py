"""Digits with a small convolutional net, the Lightning way."""
import argparse
import hashlib
import logging
import warnings

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Sampler, TensorDataset

try:
    import torchvision  # noqa: F401
except ImportError:
    pass
except RuntimeError:  # a torchvision built for another torch: not used here, but torchmetrics looks at it
    for _op in ("nms", "qnms"):
        torch.library.define(f"torchvision::{_op}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import pytorch_lightning as pl

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", ".*does not have many workers.*")


class BalancedBatchSampler(Sampler):
    """Batches with the same number of rows of each class, drawn anew every epoch."""

    def __init__(self, labels, per_class, num_batches, seed=0):
        self.by_class = [np.flatnonzero(labels == c) for c in np.unique(labels)]
        self.per_class, self.num_batches, self.seed = per_class, num_batches, seed
        self.epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        rng = np.random.default_rng((self.seed, self.epoch))
        for _ in range(self.num_batches):
            picked = [rng.choice(rows, self.per_class, replace=False) for rows in self.by_class]
            yield np.concatenate(picked).tolist()
        self.epoch += 1

    def __len__(self):
        return self.num_batches


class DigitsDataModule(pl.LightningDataModule):
    def __init__(self, per_class=3, num_batches=32):
        super().__init__()
        self.per_class, self.num_batches = per_class, num_batches

    def setup(self, stage=None):
        x, y = load_digits(return_X_y=True)
        x = torch.tensor(x, dtype=torch.float32).view(-1, 1, 8, 8) / 16.0
        x = (x - x.mean()) / x.std()
        y = torch.tensor(y)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        x, y = x[order], y[order]
        self.train_set = TensorDataset(x[:1200], y[:1200])
        self.val_set = TensorDataset(x[1200:], y[1200:])

    def train_dataloader(self):
        labels = self.train_set.tensors[1].numpy()
        return DataLoader(self.train_set, batch_sampler=BalancedBatchSampler(labels, self.per_class, self.num_batches))

    def val_dataloader(self):
        return DataLoader(self.val_set, batch_size=256)


class LitDigits(pl.LightningModule):
    def __init__(self, lr=0.05, warmup_steps=12, total_steps=96, width=16, dropout=0.1):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(8 * width, 10),
        )
        self.history = []

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y, label_smoothing=0.05)
        self.log("train_loss", loss, prog_bar=True)
        if self.global_step % 16 == 0:
            lr = self.trainer.optimizers[0].param_groups[0]["lr"]
            print(f"step {self.global_step} loss {loss.item():.4f} lr {lr:.4f}")
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.log("val_loss", F.cross_entropy(logits, y), prog_bar=True)
        self.log("val_acc", (logits.argmax(1) == y).float().mean(), prog_bar=True)

    def on_validation_epoch_end(self):
        m = self.trainer.callback_metrics
        print(f"epoch {self.current_epoch} val_loss {m['val_loss']:.4f} val_acc {m['val_acc']:.4f}")

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9, weight_decay=5e-4)

        def factor(step):
            if step < self.hparams.warmup_steps:
                return (step + 1) / self.hparams.warmup_steps
            left = self.hparams.total_steps - step
            return max(0.0, left / (self.hparams.total_steps - self.hparams.warmup_steps))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": scheduler,
                "interval": "step",
                "name": "warmup_linear",
            },
        }


def cli_main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--max_epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--gradient_clip_val", type=float, default=1.0)
    args = parser.parse_args()

    pl.seed_everything(args.seed, verbose=False)
    dm = DigitsDataModule()
    model = LitDigits(total_steps=args.max_epochs * dm.num_batches)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=args.max_epochs,
        gradient_clip_val=args.gradient_clip_val,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        deterministic=True,
    )
    trainer.fit(model, datamodule=dm)

    h = hashlib.sha256()
    for p in model.parameters():
        h.update(p.detach().cpu().numpy().tobytes())
    print("digest", h.hexdigest())


if __name__ == "__main__":
    cli_main()
