"""A healthy problem: a network with two hidden layers on scikit-learn's digits.

wellposed check examples/digits.py
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import wellposed as wp

torch.manual_seed(0)
pixels, labels = load_digits(return_X_y=True)
train = torch.randperm(len(pixels))[:1400]
standardizer = wp.Standardizer().fit(pixels[train])
inputs = torch.tensor(standardizer.transform(pixels[train[:256]]), dtype=torch.float32)
targets = torch.tensor(labels[train[:256]])

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
problem = wp.TorchProblem(model, nn.CrossEntropyLoss(), (inputs, targets))
