# cause: scale
# size: 1.5
# dtype: float32
# where: all parameters; the loss too
# source: huggingface/transformers pull 34191 (meta-pytorch/torchtune pull 1875)
# why: each part's loss is a mean over its own tokens, and the parts hold unequal numbers of tokens
import torch
from torch import nn


class Loss(nn.Module):
    def __init__(self, parts=1, faulty=False):
        super().__init__()
        self.hidden, self.head = nn.Linear(12, 24), nn.Linear(24, 17)
        self.parts, self.faulty = parts, faulty

    def forward(self, x, labels):
        total, count = 0, (labels != -100).sum()
        for xp, lp in zip(x.chunk(self.parts), labels.chunk(self.parts)):
            logits = self.head(torch.tanh(self.hidden(xp)))
            how = "mean" if self.faulty else "sum"
            part = torch.nn.functional.cross_entropy(logits.flatten(0, 1), lp.flatten(), ignore_index=-100, reduction=how)
            total = total + (part / self.parts if self.faulty else part / count)
        return total


def case(faulty: bool) -> dict:
    torch.manual_seed(306)
    reference, candidate = Loss(), Loss(4, faulty)
    candidate.load_state_dict(reference.state_dict())
    x, labels = torch.randn(8, 15, 12), torch.randint(0, 17, (8, 15))
    for row, length in enumerate((15, 13, 2, 1, 9, 4, 15, 1)):
        labels[row, length:] = -100
    return {"reference": reference, "candidate": candidate, "inputs": (x.requires_grad_(), labels)}
