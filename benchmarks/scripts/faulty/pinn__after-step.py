# base: pinn
# rule: WP603
# cause: after-step
# line: torch.nn.utils.clip_grad_norm_(self.dnn.parameters(), MAX_NORM)
# why: the clip comes after the step and so does nothing: the large first gradients (norm over 10) go into Adam's moments unclipped
# Physics-informed network for the viscous Burgers equation
#   u_t + u u_x = nu u_xx,   u(0, x) = -sin(pi x),   u(t, -1) = u(t, 1) = 0
# Collocation points are drawn anew at every iteration.
import hashlib
import time

import numpy as np
import torch
import torch.nn as nn

torch.manual_seed(1234)
np.random.seed(1234)
device = torch.device("cpu")

NU = 0.05
LAYERS = [2, 32, 32, 32, 1]
N_F, N_0, N_B = 400, 64, 32
ITERS = 400
LR = 5e-3
MAX_NORM = 1.0


class DNN(nn.Module):
    def __init__(self, layers):
        super().__init__()
        mods = []
        for i in range(len(layers) - 2):
            mods += [nn.Linear(layers[i], layers[i + 1]), nn.Tanh()]
        mods.append(nn.Linear(layers[-2], layers[-1]))
        self.net = nn.Sequential(*mods)
        for m in self.net:
            if isinstance(m, nn.Linear):
                nn.init.xavier_normal_(m.weight)
                nn.init.zeros_(m.bias)

    def forward(self, t, x):
        return self.net(torch.cat([2 * t - 1, x], dim=1))


class PhysicsInformedNN:
    def __init__(self, layers, nu):
        self.nu = nu
        self.dnn = DNN(layers).to(device)
        self.optimizer = torch.optim.Adam(self.dnn.parameters(), lr=LR)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, gamma=0.995)
        self.iter = 0

    def net_u(self, t, x):
        return self.dnn(t, x)

    def net_f(self, t, x):
        u = self.net_u(t, x)
        ones = torch.ones_like(u)
        u_t = torch.autograd.grad(u, t, grad_outputs=ones, create_graph=True)[0]
        u_x = torch.autograd.grad(u, x, grad_outputs=ones, create_graph=True)[0]
        u_xx = torch.autograd.grad(u_x, x, grad_outputs=ones, create_graph=True)[0]
        return u_t + u * u_x - self.nu * u_xx

    def draw(self):
        t_f = torch.rand(N_F, 1, device=device).requires_grad_(True)
        x_f = (2 * torch.rand(N_F, 1, device=device) - 1).requires_grad_(True)
        x_0 = 2 * torch.rand(N_0, 1, device=device) - 1
        t_b = torch.rand(N_B, 1, device=device)
        x_b = torch.where(torch.rand(N_B, 1) < 0.5, -1.0, 1.0)
        return t_f, x_f, x_0, t_b, x_b

    def loss_func(self):
        t_f, x_f, x_0, t_b, x_b = self.draw()
        u_0 = self.net_u(torch.zeros_like(x_0), x_0)
        loss_0 = torch.mean((u_0 + torch.sin(torch.pi * x_0)) ** 2)
        loss_b = torch.mean(self.net_u(t_b, x_b) ** 2)
        loss_f = torch.mean(self.net_f(t_f, x_f) ** 2)
        return 5.0 * loss_0 + loss_b + loss_f, loss_0, loss_b, loss_f

    def train(self, n_iter):
        self.dnn.train()
        for _ in range(n_iter):
            self.optimizer.zero_grad()
            loss, l0, lb, lf = self.loss_func()
            loss.backward()
            self.optimizer.step()
            torch.nn.utils.clip_grad_norm_(self.dnn.parameters(), MAX_NORM)
            self.scheduler.step()
            if self.iter % 50 == 0:
                print("It: %d, Loss: %.3e, Loss_0: %.3e, Loss_b: %.3e, Loss_f: %.3e" % (
                    self.iter, loss.item(), l0.item(), lb.item(), lf.item()))
            self.iter += 1

    def predict(self, t, x):
        t = torch.as_tensor(t, dtype=torch.float32, device=device).requires_grad_(True)
        x = torch.as_tensor(x, dtype=torch.float32, device=device).requires_grad_(True)
        self.dnn.eval()
        u, f = self.net_u(t, x), self.net_f(t, x)
        return u.detach().numpy(), f.detach().numpy()


def reference(nu, n=201, dt=2e-4):
    """Finite differences up to t = 1; returns x and u(1, x)."""
    x = np.linspace(-1, 1, n)
    dx = x[1] - x[0]
    u = -np.sin(np.pi * x)
    for _ in range(int(round(1 / dt))):
        ux = (u[2:] - u[:-2]) / (2 * dx)
        uxx = (u[2:] - 2 * u[1:-1] + u[:-2]) / dx ** 2
        u[1:-1] = u[1:-1] + dt * (-u[1:-1] * ux + nu * uxx)
    return x, u


model = PhysicsInformedNN(LAYERS, NU)
start = time.time()
model.train(ITERS)
x_ref, u_ref = reference(NU)
u_pred, f_pred = model.predict(np.ones((len(x_ref), 1)), x_ref[:, None])
err = np.linalg.norm(u_ref - u_pred[:, 0]) / np.linalg.norm(u_ref)
print("Error u(1, x): %.3f   residual: %.3e" % (err, np.abs(f_pred).mean()))

sha = hashlib.sha256()
for p in model.dnn.parameters():
    sha.update(p.detach().cpu().numpy().tobytes())
print("digest " + sha.hexdigest())
