# base: mingpt_trainer
# rule: WP602
# cause: not-in-optimizer
# line: blacklist_weight_modules = (torch.nn.LayerNorm, )
# why: the token embedding is in neither of the two parameter groups, gets a gradient at every step and stays as it was initialised
"""
A small GPT that learns to sort digits, with a boilerplate Trainer that knows nothing of GPTs.
"""
import hashlib
import math
import time
from collections import defaultdict
from types import SimpleNamespace as CN

import torch
import torch.nn as nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from torch.utils.data.dataloader import DataLoader


# ------------------------------------------------------------------- model
class CausalSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)
        self.attn_dropout = nn.Dropout(config.attn_pdrop)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)
        n = config.block_size
        self.register_buffer("mask", torch.tril(torch.ones(n, n)).view(1, 1, n, n))
        self.n_head, self.n_embd = config.n_head, config.n_embd

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(self.n_embd, dim=2)
        q, k, v = (t.view(B, T, self.n_head, C // self.n_head).transpose(1, 2) for t in (q, k, v))
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.mask[:, :, :T, :T] == 0, float('-inf'))
        att = self.attn_dropout(F.softmax(att, dim=-1))
        y = (att @ v).transpose(1, 2).contiguous().view(B, T, C)
        return self.resid_dropout(self.c_proj(y))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd)
        self.mlp = nn.ModuleDict(dict(
            c_fc=nn.Linear(config.n_embd, 4 * config.n_embd),
            c_proj=nn.Linear(4 * config.n_embd, config.n_embd),
            act=nn.GELU(),
            dropout=nn.Dropout(config.resid_pdrop),
        ))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        m = self.mlp
        return x + m.dropout(m.c_proj(m.act(m.c_fc(self.ln_2(x)))))


class GPT(nn.Module):
    @staticmethod
    def get_default_config():
        return CN(n_layer=2, n_head=2, n_embd=48, vocab_size=None, block_size=None,
                  embd_pdrop=0.05, resid_pdrop=0.05, attn_pdrop=0.05)

    def __init__(self, config):
        super().__init__()
        self.block_size = config.block_size
        # sinusoidal positions, not learned
        pos = torch.arange(config.block_size).unsqueeze(1)
        div = torch.exp(torch.arange(0, config.n_embd, 2) * (-math.log(10000.0) / config.n_embd))
        pe = torch.zeros(1, config.block_size, config.n_embd)
        pe[0, :, 0::2], pe[0, :, 1::2] = torch.sin(pos * div), torch.cos(pos * div)
        self.pos_emb = nn.Parameter(0.1 * pe, requires_grad=False)
        self.transformer = nn.ModuleDict(dict(
            wte=nn.Embedding(config.vocab_size, config.n_embd),
            drop=nn.Dropout(config.embd_pdrop),
            h=nn.ModuleList([Block(config) for _ in range(config.n_layer)]),
            ln_f=nn.LayerNorm(config.n_embd),
        ))
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.apply(self._init_weights)
        print("number of parameters: %.1fK" % (sum(p.numel() for p in self.parameters()) / 1e3,))

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            torch.nn.init.normal_(module.weight, mean=0.0, std=0.02)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            torch.nn.init.normal_(module.weight, mean=0.0, std=0.02)

    def configure_optimizers(self, train_config):
        # separate out all parameters to those that will and won't experience weight decay
        decay, no_decay = set(), set()
        whitelist_weight_modules = (torch.nn.Linear,)
        blacklist_weight_modules = (torch.nn.LayerNorm, )
        for mn, m in self.named_modules():
            for pn, p in m.named_parameters(recurse=False):
                fpn = '%s.%s' % (mn, pn) if mn else pn
                if not p.requires_grad:
                    continue
                if pn.endswith('bias'):
                    no_decay.add(fpn)
                elif pn.endswith('weight') and isinstance(m, whitelist_weight_modules):
                    decay.add(fpn)
                elif pn.endswith('weight') and isinstance(m, blacklist_weight_modules):
                    no_decay.add(fpn)
        param_dict = {pn: p for pn, p in self.named_parameters() if p.requires_grad}
        assert not decay & no_decay, "some parameters are in both sets"
        optim_groups = [
            {"params": [param_dict[pn] for pn in sorted(decay)], "weight_decay": train_config.weight_decay},
            {"params": [param_dict[pn] for pn in sorted(no_decay)], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(optim_groups, lr=train_config.learning_rate, betas=train_config.betas)

    def forward(self, idx, targets=None):
        b, t = idx.size()
        x = self.transformer.drop(self.transformer.wte(idx) + self.pos_emb[:, :t])
        for block in self.transformer.h:
            x = block(x)
        logits = self.lm_head(self.transformer.ln_f(x))
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)
        return logits, loss

    @torch.no_grad()
    def generate(self, idx, max_new_tokens):
        for _ in range(max_new_tokens):
            logits, _ = self(idx[:, -self.block_size:])
            idx = torch.cat((idx, logits[:, -1].argmax(-1, keepdim=True)), dim=1)
        return idx


# ----------------------------------------------------------------- trainer
class Trainer:
    @staticmethod
    def get_default_config():
        return CN(device='cpu', num_workers=0, max_iters=None, batch_size=64,
                  learning_rate=3e-3, betas=(0.9, 0.95), weight_decay=0.1,
                  grad_norm_clip=1.0, warmup_iters=20)

    def __init__(self, config, model, train_dataset):
        self.config = config
        self.model = model.to(config.device)
        self.optimizer = model.configure_optimizers(config)
        self.train_dataset = train_dataset
        self.callbacks = defaultdict(list)
        self.iter_num = 0
        self.iter_time = 0.0
        self.iter_dt = 0.0

    def add_callback(self, onevent, callback):
        self.callbacks[onevent].append(callback)

    def set_callback(self, onevent, callback):
        self.callbacks[onevent] = [callback]

    def trigger_callbacks(self, onevent):
        for callback in self.callbacks.get(onevent, []):
            callback(self)

    def run(self):
        model, config = self.model, self.config
        train_loader = DataLoader(
            self.train_dataset,
            sampler=torch.utils.data.RandomSampler(self.train_dataset, replacement=True, num_samples=int(1e10)),
            shuffle=False,
            batch_size=config.batch_size,
            num_workers=config.num_workers,
        )
        model.train()
        self.iter_num = 0
        self.iter_time = time.time()
        data_iter = iter(train_loader)
        while True:
            # fetch the next batch (x, y) and re-init iterator if needed
            try:
                batch = next(data_iter)
            except StopIteration:
                data_iter = iter(train_loader)
                batch = next(data_iter)
            x, y = [t.to(config.device) for t in batch]

            # forward the model
            logits, self.loss = model(x, y)

            # backprop and update the parameters
            model.zero_grad(set_to_none=True)
            self.loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_norm_clip)
            self.optimizer.step()

            self.trigger_callbacks('on_batch_end')
            self.iter_num += 1
            tnow = time.time()
            self.iter_dt = tnow - self.iter_time
            self.iter_time = tnow
            if config.max_iters is not None and self.iter_num >= config.max_iters:
                break


# -------------------------------------------------------------------- data
class SortDataset(Dataset):
    """Sequences of digits, followed by the same digits sorted."""

    def __init__(self, split, length=6, num_digits=4):
        assert split in {'train', 'test'}
        self.split, self.length, self.num_digits = split, length, num_digits

    def __len__(self):
        return 10000

    def get_vocab_size(self):
        return self.num_digits

    def get_block_size(self):
        return self.length * 2 - 1

    def __getitem__(self, idx):
        while True:
            inp = torch.randint(self.num_digits, size=(self.length,), dtype=torch.long)
            code = sum(v * self.num_digits ** i for i, v in enumerate(inp.tolist()))
            inp_split = 'test' if code * 2654435761 % 97 % 4 == 0 else 'train'
            if inp_split == self.split:
                break
        sol = torch.sort(inp)[0]
        cat = torch.cat((inp, sol), dim=0)
        x, y = cat[:-1].clone(), cat[1:].clone()
        y[:self.length - 1] = -1
        return x, y


if __name__ == '__main__':
    torch.manual_seed(3407)
    train_dataset, test_dataset = SortDataset('train'), SortDataset('test')

    model_config = GPT.get_default_config()
    model_config.vocab_size = train_dataset.get_vocab_size()
    model_config.block_size = train_dataset.get_block_size()
    model = GPT(model_config)

    train_config = Trainer.get_default_config()
    train_config.max_iters = 120
    trainer = Trainer(train_config, model, train_dataset)

    # linear warm-up, then cosine decay, counted in steps
    def lr_mult(it):
        if it < train_config.warmup_iters:
            return it / train_config.warmup_iters
        progress = (it - train_config.warmup_iters) / (train_config.max_iters - train_config.warmup_iters)
        return max(0.1, 0.5 * (1.0 + math.cos(math.pi * progress)))

    scheduler = torch.optim.lr_scheduler.LambdaLR(trainer.optimizer, lr_mult)

    def schedule_callback(trainer):
        scheduler.step()

    def batch_end_callback(trainer):
        if trainer.iter_num % 20 == 0:
            print(f"iter {trainer.iter_num}: train loss {trainer.loss.item():.5f}")
        if (trainer.iter_num + 1) % 60 == 0:
            eval_split(trainer, test_dataset)

    def eval_split(trainer, dataset):
        model.eval()
        n = dataset.length
        seqs = torch.stack([dataset[i][0][:n] for i in range(100)])
        out = model.generate(seqs, n)[:, n:]
        correct = (out == seqs.sort(dim=1)[0]).all(1).sum().item()
        print("test: %d/100 sorted correctly" % correct)
        model.train()

    trainer.add_callback('on_batch_end', schedule_callback)
    trainer.add_callback('on_batch_end', batch_end_callback)
    trainer.run()

    digest = hashlib.sha256()
    for p in model.parameters():
        if p.requires_grad:
            digest.update(p.detach().numpy().tobytes())
    print('digest', digest.hexdigest())
