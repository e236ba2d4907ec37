# base: topic_embeddingbag
# rule: WP605
# cause: shuffled-apart
# line: random.shuffle(docs)
# why: only the documents are shuffled, the labels keep their old order; accuracy stays at chance.
"""Topic classification with an EmbeddingBag; documents shuffled and batched by hand, SGD with per-epoch decay."""
import hashlib
import random

import torch
from torch import nn

random.seed(10)
torch.manual_seed(10)
TOPICS = ["world", "sport", "business", "science"]
VOCAB = 400


def write_documents(n):
    docs, labels = [], []
    for _ in range(n):
        t = random.randrange(len(TOPICS))
        words = []
        for _ in range(random.randint(8, 20)):
            own = random.random() < 0.35
            words.append(t * 60 + random.randrange(60) if own else 240 + random.randrange(VOCAB - 240))
        docs.append(torch.tensor(words))
        labels.append(t)
    return docs, labels


def collate(docs, labels):
    offsets = torch.tensor([0] + [len(d) for d in docs[:-1]]).cumsum(0)
    return torch.cat(docs), offsets, torch.tensor(labels)


class TextClassificationModel(nn.Module):
    def __init__(self, vocab_size, embed_dim, num_class):
        super().__init__()
        self.embedding = nn.EmbeddingBag(vocab_size, embed_dim, mode="mean")
        self.fc = nn.Linear(embed_dim, num_class)
        self.init_weights()

    def init_weights(self):
        self.embedding.weight.data.uniform_(-0.5, 0.5)
        self.fc.weight.data.uniform_(-0.5, 0.5)
        self.fc.bias.data.zero_()

    def forward(self, text, offsets):
        return self.fc(self.embedding(text, offsets))


docs, labels = write_documents(2000)
test_docs, test_labels = write_documents(400)
model = TextClassificationModel(VOCAB, 32, len(TOPICS))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=4.0)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.8)
batch_size = 25

for epoch in range(1, 9):
    random.shuffle(docs)
    model.train()
    total_acc = total = 0
    for start in range(0, len(docs), batch_size):
        text, offsets, label = collate(docs[start : start + batch_size], labels[start : start + batch_size])
        optimizer.zero_grad()
        predicted = model(text, offsets)
        loss = criterion(predicted, label)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        total_acc += (predicted.argmax(1) == label).sum().item()
        total += len(label)
    scheduler.step()
    model.eval()
    with torch.no_grad():
        text, offsets, label = collate(test_docs, test_labels)
        out = model(text, offsets)
        acc, tl = (out.argmax(1) == label).float().mean().item(), criterion(out, label).item()
    print(f"| epoch {epoch} | train acc {total_acc / total:.3f} | test acc {acc:.3f} | test loss {tl:.4f}")

print(f"metric {tl:.4f}")
print("digest", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
