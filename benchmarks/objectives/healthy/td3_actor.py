import torch
import torch.nn as nn
import torch.nn.functional as F
import wellposed as wp


class Actor(nn.Module):
    def __init__(self, state_dim, action_dim, max_action):
        super(Actor, self).__init__()
        self.l1 = nn.Linear(state_dim, 64)
        self.l2 = nn.Linear(64, 64)
        self.l3 = nn.Linear(64, action_dim)
        self.max_action = max_action

    def forward(self, state):
        a = F.relu(self.l1(state))
        a = F.relu(self.l2(a))
        return self.max_action * torch.tanh(self.l3(a))


class Critic(nn.Module):
    def __init__(self, state_dim, action_dim):
        super(Critic, self).__init__()
        self.l1 = nn.Linear(state_dim + action_dim, 64)
        self.l2 = nn.Linear(64, 64)
        self.l3 = nn.Linear(64, 1)

    def Q1(self, state, action):
        q = F.relu(self.l1(torch.cat([state, action], 1)))
        return self.l3(F.relu(self.l2(q)))


def problem():
    torch.manual_seed(0)
    actor, critic = Actor(8, 2, 2.0), Critic(8, 2)
    state = torch.randn(100, 8)
    actor_loss = lambda net: -critic.Q1(state, net(state)).mean()
    return wp.TorchProblem(actor, actor_loss, optimizer=torch.optim.Adam(actor.parameters(), lr=3e-4))
