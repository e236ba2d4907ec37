# base: imagenet_like
# rule: WP601
# cause: not-divided
# line: loss.backward()
# why: the loss of each micro-batch is not divided by accum_steps before this line, so each SGD step is eight times as long as the learning rate says
import argparse
import hashlib
import os
import random
import shutil
import tempfile
import time
from enum import Enum

import torch
import torch.nn as nn
import torch.optim
import torch.utils.data
from torch.optim.lr_scheduler import StepLR

parser = argparse.ArgumentParser(description='small ImageNet-like training')
parser.add_argument('-j', '--workers', default=2, type=int)
parser.add_argument('--epochs', default=5, type=int)
parser.add_argument('--start-epoch', default=0, type=int)
parser.add_argument('-b', '--batch-size', default=8, type=int)
parser.add_argument('--accum-steps', default=8, type=int,
                    help='micro-batches per optimizer step')
parser.add_argument('--lr', '--learning-rate', default=0.3, type=float, dest='lr')
parser.add_argument('--momentum', default=0.9, type=float)
parser.add_argument('--wd', '--weight-decay', default=1e-4, type=float, dest='weight_decay')
parser.add_argument('-p', '--print-freq', default=32, type=int)
parser.add_argument('--num-classes', default=10, type=int)
parser.add_argument('--seed', default=3, type=int)
parser.add_argument('--output-dir', default='', type=str)

best_acc1 = 0


class BasicBlock(nn.Module):
    def __init__(self, inplanes, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inplanes != planes:
            self.downsample = nn.Sequential(
                nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + identity)


class TinyResNet(nn.Module):
    def __init__(self, num_classes=1000, width=8):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = BasicBlock(width, width)
        self.layer2 = BasicBlock(width, 2 * width, 2)
        self.layer3 = BasicBlock(2 * width, 4 * width, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 * width, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode='fan_out', nonlinearity='relu')

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class FakeImages(torch.utils.data.Dataset):
    """Each class is a smooth colour pattern, shown shifted, mirrored and with noise."""

    def __init__(self, size, num_classes, seed, train):
        g = torch.Generator().manual_seed(1234)
        coarse = torch.randn(num_classes, 3, 4, 4, generator=g)
        self.patterns = nn.functional.interpolate(coarse, size=16, mode='bilinear')
        g = torch.Generator().manual_seed(seed)
        self.targets = torch.randint(num_classes, (size,), generator=g)
        noise = torch.randn(size, 3, 16, 16, generator=g)
        self.images = self.patterns[self.targets] + 1.3 * noise
        self.images /= self.images.std()
        self.train = train

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        img = self.images[i]
        if self.train:
            if torch.rand(1).item() < 0.5:
                img = torch.flip(img, dims=[2])
            dx, dy = torch.randint(-1, 2, (2,)).tolist()
            img = torch.roll(img, (dx, dy), dims=(1, 2))
        return img, self.targets[i]


def main():
    args = parser.parse_args()
    if args.seed is not None:
        random.seed(args.seed)
        torch.manual_seed(args.seed)
    if not args.output_dir:
        args.output_dir = tempfile.mkdtemp(prefix='tinynet_')
        args.remove_output = True
    else:
        args.remove_output = False
    main_worker(args)
    if args.remove_output:
        shutil.rmtree(args.output_dir)


def main_worker(args):
    global best_acc1
    print("=> creating model 'TinyResNet'")
    model = TinyResNet()
    model.fc = nn.Linear(model.fc.in_features, args.num_classes)

    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), args.lr,
                                momentum=args.momentum,
                                weight_decay=args.weight_decay)
    scheduler = StepLR(optimizer, step_size=2, gamma=0.3)

    train_dataset = FakeImages(768, args.num_classes, seed=10, train=True)
    val_dataset = FakeImages(320, args.num_classes, seed=11, train=False)
    train_loader = torch.utils.data.DataLoader(
        train_dataset, batch_size=args.batch_size, shuffle=True,
        num_workers=args.workers, drop_last=True)
    val_loader = torch.utils.data.DataLoader(
        val_dataset, batch_size=160, shuffle=False, num_workers=0)

    for epoch in range(args.start_epoch, args.epochs):
        train(train_loader, model, criterion, optimizer, epoch, args)
        acc1 = validate(val_loader, model, criterion, args)
        scheduler.step()

        is_best = acc1 > best_acc1
        best_acc1 = max(acc1, best_acc1)
        save_checkpoint({
            'epoch': epoch + 1,
            'state_dict': model.state_dict(),
            'best_acc1': best_acc1,
            'optimizer': optimizer.state_dict(),
            'scheduler': scheduler.state_dict(),
        }, is_best, args.output_dir)

    h = hashlib.sha256()
    for p in model.parameters():
        h.update(p.detach().numpy().tobytes())
    print('digest', h.hexdigest())


def train(train_loader, model, criterion, optimizer, epoch, args):
    batch_time = AverageMeter('Time', ':6.3f', Summary.NONE)
    losses = AverageMeter('Loss', ':.4e', Summary.NONE)
    top1 = AverageMeter('Acc@1', ':6.2f', Summary.NONE)
    progress = ProgressMeter(len(train_loader), [batch_time, losses, top1],
                             prefix="Epoch: [{}]".format(epoch))
    model.train()
    end = time.time()
    optimizer.zero_grad(set_to_none=True)
    for i, (images, target) in enumerate(train_loader):
        output = model(images)
        loss = criterion(output, target)

        acc1, = accuracy(output, target, topk=(1,))
        losses.update(loss.item(), images.size(0))
        top1.update(acc1.item(), images.size(0))

        loss.backward()
        if (i + 1) % args.accum_steps == 0:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        batch_time.update(time.time() - end)
        end = time.time()
        if i % args.print_freq == 0:
            progress.display(i + 1)


def validate(val_loader, model, criterion, args):
    losses = AverageMeter('Loss', ':.4e', Summary.AVERAGE)
    top1 = AverageMeter('Acc@1', ':6.2f', Summary.AVERAGE)
    progress = ProgressMeter(len(val_loader), [losses, top1], prefix='Test: ')
    model.eval()
    with torch.no_grad():
        for images, target in val_loader:
            output = model(images)
            loss = criterion(output, target)
            acc1, = accuracy(output, target, topk=(1,))
            losses.update(loss.item(), images.size(0))
            top1.update(acc1.item(), images.size(0))
    progress.display_summary()
    return top1.avg


def save_checkpoint(state, is_best, folder):
    filename = os.path.join(folder, 'checkpoint.pth.tar')
    torch.save(state, filename)
    if is_best:
        shutil.copyfile(filename, os.path.join(folder, 'model_best.pth.tar'))


class Summary(Enum):
    NONE = 0
    AVERAGE = 1


class AverageMeter:
    def __init__(self, name, fmt=':f', summary_type=Summary.AVERAGE):
        self.name, self.fmt, self.summary_type = name, fmt, summary_type
        self.reset()

    def reset(self):
        self.val = self.avg = self.sum = self.count = 0

    def update(self, val, n=1):
        self.val = val
        self.sum += val * n
        self.count += n
        self.avg = self.sum / self.count

    def __str__(self):
        return ('{name} {val' + self.fmt + '} ({avg' + self.fmt + '})').format(**self.__dict__)

    def summary(self):
        return '' if self.summary_type is Summary.NONE else '{} {:.3f}'.format(self.name, self.avg)


class ProgressMeter:
    def __init__(self, num_batches, meters, prefix=""):
        width = len(str(num_batches))
        self.fmt = '[{:' + str(width) + 'd}/' + str(num_batches) + ']'
        self.meters, self.prefix = meters, prefix

    def display(self, batch):
        print('\t'.join([self.prefix + self.fmt.format(batch)] + [str(m) for m in self.meters]))

    def display_summary(self):
        print(' * ' + ' '.join(m.summary() for m in self.meters))


def accuracy(output, target, topk=(1,)):
    with torch.no_grad():
        _, pred = output.topk(max(topk), 1, True, True)
        correct = pred.t().eq(target.view(1, -1).expand(max(topk), -1))
        return [correct[:k].reshape(-1).float().sum(0) * (100.0 / target.size(0)) for k in topk]


if __name__ == '__main__':
    main()
