"""Time sequence prediction with LBFGS (in the shape of pytorch/examples/time_sequence_prediction)."""
import argparse
import hashlib

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim


class Sequence(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.hidden = hidden
        self.lstm1 = nn.LSTMCell(1, hidden)
        self.lstm2 = nn.LSTMCell(hidden, hidden)
        self.linear = nn.Linear(hidden, 1)

    def forward(self, input, future=0):
        outputs = []
        n = input.size(0)
        h_t, c_t, h_t2, c_t2 = (torch.zeros(n, self.hidden, dtype=input.dtype) for _ in range(4))
        for input_t in input.split(1, dim=1):
            h_t, c_t = self.lstm1(input_t, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs += [output]
        for _ in range(future):
            h_t, c_t = self.lstm1(output, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs += [output]
        return torch.cat(outputs, dim=1)


def generate_sine_wave(n=23, length=61, period=10):
    rng = np.random.RandomState(2)
    x = np.arange(length)[None, :] + rng.randint(-4 * period, 4 * period, n)[:, None]
    return np.sin(x / period * 2).astype("float64")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=26, help="steps to run")
    parser.add_argument("--lr", type=float, default=0.8)
    parser.add_argument("--max_iter", type=int, default=4)
    opt = parser.parse_args()
    np.random.seed(0)
    torch.manual_seed(0)

    data = generate_sine_wave()
    input = torch.from_numpy(data[3:, :-1])
    target = torch.from_numpy(data[3:, 1:])
    test_input = torch.from_numpy(data[:3, :-1])
    test_target = torch.from_numpy(data[:3, 1:])

    seq = Sequence()
    seq.double()
    criterion = nn.MSELoss()
    # LBFGS as the whole data set is one batch
    optimizer = optim.LBFGS(seq.parameters(), lr=opt.lr, max_iter=opt.max_iter, history_size=10)

    for i in range(opt.steps):
        def closure():
            optimizer.zero_grad()
            out = seq(input)
            loss = criterion(out, target)
            loss.backward()
            return loss

        loss = optimizer.step(closure)
        if i % 5 == 0 or i == opt.steps - 1:
            print("STEP:", i, "loss: %.6f" % loss.item())
            with torch.no_grad():
                future = 20
                pred = seq(test_input, future=future)
                print("  test loss: %.6f" % criterion(pred[:, :-future], test_target).item())

    h = hashlib.sha256()
    for p in seq.parameters():
        h.update(p.detach().numpy().tobytes())
    print("digest", h.hexdigest())


if __name__ == "__main__":
    main()
