# base: kfold_regression
# rule: WP602
# cause: replaced
# line: network = MLP(8)  # fresh weights for each fold
# why: the model is made anew in each fold, the optimizer still holds the first one; no fold is trained.
"""5-fold cross-validation of an MLP regressor on Friedman-like data."""
import hashlib

import numpy as np
import torch
from sklearn.datasets import make_friedman1
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset


class MLP(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_in, 64), nn.Tanh(),
            nn.Linear(64, 32), nn.Tanh(),
            nn.Linear(32, 1),
        )

    def forward(self, x):
        return self.layers(x)


if __name__ == "__main__":
    k_folds, num_epochs = 5, 8
    loss_function = nn.MSELoss()
    results, digest = {}, hashlib.sha256()
    torch.manual_seed(42)

    X, y = make_friedman1(n_samples=800, n_features=8, noise=0.3, random_state=0)
    X = StandardScaler().fit_transform(X).astype(np.float32)
    y = ((y - y.mean()) / y.std()).astype(np.float32)[:, None]
    dataset = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    kfold = KFold(n_splits=k_folds, shuffle=True, random_state=1)

    network = MLP(8)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)

    for fold, (train_ids, test_ids) in enumerate(kfold.split(dataset)):
        print(f"FOLD {fold}")
        trainloader = DataLoader(dataset, batch_size=32, sampler=SubsetRandomSampler(train_ids))
        testloader = DataLoader(dataset, batch_size=32, sampler=SubsetRandomSampler(test_ids))

        network = MLP(8)  # fresh weights for each fold

        for epoch in range(num_epochs):
            current_loss = 0.0
            for i, (inputs, targets) in enumerate(trainloader, 0):
                optimizer.zero_grad()
                outputs = network(inputs)
                loss = loss_function(outputs, targets)
                loss.backward()
                optimizer.step()
                current_loss += loss.item()
            if epoch % 4 == 3:
                print(f"  epoch {epoch + 1}: loss {current_loss / (i + 1):.4f}")

        se, n = 0.0, 0
        with torch.no_grad():
            for inputs, targets in testloader:
                se += ((network(inputs) - targets) ** 2).sum().item()
                n += len(targets)
        results[fold] = se / n
        for p in network.parameters():
            digest.update(p.detach().numpy().tobytes())

    for key, value in results.items():
        print(f"Fold {key}: mse {value:.4f}")
    print(f"metric {np.mean(list(results.values())):.4f}")
    print("digest", digest.hexdigest())
