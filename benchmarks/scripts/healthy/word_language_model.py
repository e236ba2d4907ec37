# Language modelling with an LSTM on a small artificial language.
import argparse
import hashlib
import math
import os
import tempfile
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

parser = argparse.ArgumentParser(description='RNN language model')
parser.add_argument('--emsize', type=int, default=48)
parser.add_argument('--nhid', type=int, default=48)
parser.add_argument('--nlayers', type=int, default=2)
parser.add_argument('--lr', type=float, default=20, help='initial learning rate')
parser.add_argument('--clip', type=float, default=0.25, help='gradient clipping')
parser.add_argument('--epochs', type=int, default=5)
parser.add_argument('--batch_size', type=int, default=20)
parser.add_argument('--bptt', type=int, default=20)
parser.add_argument('--dropout', type=float, default=0.1)
parser.add_argument('--tied', action='store_true', default=True)
parser.add_argument('--seed', type=int, default=1111)
parser.add_argument('--log-interval', type=int, default=10)
parser.add_argument('--save', type=str, default='')
args = parser.parse_args()

torch.manual_seed(args.seed)


class RNNModel(nn.Module):
    def __init__(self, ntoken, ninp, nhid, nlayers, dropout=0.1, tie_weights=False):
        super().__init__()
        self.ntoken, self.nhid, self.nlayers = ntoken, nhid, nlayers
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid, nlayers, dropout=dropout)
        self.decoder = nn.Linear(nhid, ntoken)
        if tie_weights:
            if nhid != ninp:
                raise ValueError('tied weights need nhid equal to emsize')
            self.decoder.weight = self.encoder.weight
        self.init_weights()

    def init_weights(self):
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, input, hidden):
        emb = self.drop(self.encoder(input))
        output, hidden = self.rnn(emb, hidden)
        decoded = self.decoder(self.drop(output)).view(-1, self.ntoken)
        return F.log_softmax(decoded, dim=1), hidden

    def init_hidden(self, bsz):
        weight = next(self.parameters())
        return (weight.new_zeros(self.nlayers, bsz, self.nhid),
                weight.new_zeros(self.nlayers, bsz, self.nhid))


###############################################################################
# Data: a Markov chain over 50 words, each followed by one of four others
###############################################################################
NTOKENS = 50


def make_corpus(n, seed):
    g = torch.Generator().manual_seed(77)
    follow = torch.stack([torch.randperm(NTOKENS, generator=g)[:4] for _ in range(NTOKENS)])
    g = torch.Generator().manual_seed(seed)
    probs = torch.tensor([0.7, 0.15, 0.1, 0.05])
    choice = torch.multinomial(probs, n, replacement=True, generator=g)
    out, w = [], 0
    for c in choice.tolist():
        w = follow[w, c].item()
        out.append(w)
    return torch.tensor(out)


def batchify(data, bsz):
    nbatch = data.size(0) // bsz
    data = data.narrow(0, 0, nbatch * bsz)
    return data.view(bsz, -1).t().contiguous()


eval_batch_size = 10
train_data = batchify(make_corpus(12000, 1), args.batch_size)
val_data = batchify(make_corpus(2000, 2), eval_batch_size)

model = RNNModel(NTOKENS, args.emsize, args.nhid, args.nlayers, args.dropout, args.tied)
criterion = nn.NLLLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)


def repackage_hidden(h):
    """Wraps hidden states in new tensors, to detach them from their history."""
    if isinstance(h, torch.Tensor):
        return h.detach()
    return tuple(repackage_hidden(v) for v in h)


def get_batch(source, i):
    seq_len = min(args.bptt, len(source) - 1 - i)
    return source[i:i + seq_len], source[i + 1:i + 1 + seq_len].view(-1)


def evaluate(data_source):
    model.eval()
    total_loss = 0.
    hidden = model.init_hidden(eval_batch_size)
    with torch.no_grad():
        for i in range(0, data_source.size(0) - 1, args.bptt):
            data, targets = get_batch(data_source, i)
            output, hidden = model(data, hidden)
            hidden = repackage_hidden(hidden)
            total_loss += len(data) * criterion(output, targets).item()
    return total_loss / (len(data_source) - 1)


def train(epoch):
    model.train()
    total_loss = 0.
    start_time = time.time()
    hidden = model.init_hidden(args.batch_size)
    for batch, i in enumerate(range(0, train_data.size(0) - 1, args.bptt)):
        data, targets = get_batch(train_data, i)
        # Truncated back-propagation: each batch starts from the last hidden state, detached.
        model.zero_grad()
        hidden = repackage_hidden(hidden)
        output, hidden = model(data, hidden)
        loss = criterion(output, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
        optimizer.step()

        total_loss += loss.item()
        if batch % args.log_interval == 0 and batch > 0:
            cur_loss = total_loss / args.log_interval
            print('| epoch {:3d} | {:3d} batches | lr {:05.2f} | loss {:5.2f} | ppl {:8.2f}'.format(
                epoch, batch, optimizer.param_groups[0]['lr'], cur_loss, math.exp(min(cur_loss, 50))))
            total_loss = 0
            start_time = time.time()


folder = None
if not args.save:
    folder = tempfile.TemporaryDirectory()
    args.save = os.path.join(folder.name, 'model.pt')

best_val_loss = None
for epoch in range(1, args.epochs + 1):
    train(epoch)
    val_loss = evaluate(val_data)
    print('-' * 70)
    print('| end of epoch {:3d} | valid loss {:5.3f} | valid ppl {:8.2f}'.format(
        epoch, val_loss, math.exp(min(val_loss, 50))))
    print('-' * 70)
    if best_val_loss is None or val_loss < best_val_loss:
        torch.save(model.state_dict(), args.save)
        best_val_loss = val_loss
    else:
        # Anneal the learning rate if no improvement has been seen on the validation data.
        for group in optimizer.param_groups:
            group['lr'] /= 4.0

h = hashlib.sha256()
for p in model.parameters():
    h.update(p.detach().numpy().tobytes())

model.load_state_dict(torch.load(args.save))
print('| best valid loss {:5.3f}'.format(evaluate(val_data)))
if folder is not None:
    folder.cleanup()
print('digest', h.hexdigest())
