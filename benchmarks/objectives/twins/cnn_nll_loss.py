import torch
import torch.nn as nn
import torch.nn.functional as F
import wellposed as wp


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=3)
        self.conv2 = nn.Conv2d(6, 12, kernel_size=3)
        self.conv2_drop = nn.Dropout2d()
        self.fc1 = nn.Linear(48, 24)
        self.fc2 = nn.Linear(24, 5)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = x.view(-1, 48)
        x = F.relu(self.fc1(x))
        x = F.dropout(x, training=self.training)
        x = self.fc2(x)
        return F.log_softmax(x, dim=1)


def problem():
    torch.manual_seed(0)
    proto = torch.randn(5, 1, 14, 14)
    target = torch.randint(0, 5, (64,))
    data = proto[target] + 0.7 * torch.randn(64, 1, 14, 14)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
    return wp.TorchProblem(model, F.nll_loss, (data, target), optimizer=optimizer)
