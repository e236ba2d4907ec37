"""WP2xx: the signal on its way through the network, and the gradient on its way back."""

from __future__ import annotations

from wellposed.findings import Remedy
from wellposed.rules.rule import Cause, Rule

_INITIALIZE = Remedy(
    "Initialise every layer for the activation that follows it",
    "wp.initialize(model, batch)",
)
_SKIP = Remedy("Add normalisation layers or skip connections, which carry the signal past the layers that lose it")
_POOLE = "Poole, Lahiri, Raghu, Sohl-Dickstein, Ganguli 2016, arXiv 1606.05340"
_SCHOENHOLZ = "Schoenholz, Gilmer, Ganguli, Sohl-Dickstein 2017, arXiv 1611.01232"

_CAUSES = (
    Cause(
        "activation",
        "The slope of the activation is too small for these weights: a sigmoid's is at most 1/4, a saturated tanh's is near 0.",
        "wp.gain(activation) gives the weight standard deviation (times 1/sqrt(fan_in)) that keeps the signal.",
        (_INITIALIZE, Remedy("Use ReLU, GELU or tanh in hidden layers in place of sigmoid"), _SKIP),
    ),
    Cause(
        "gain",
        "The weights of every layer are a little too small or too large; with depth the factors multiply.",
        "Compare the factor per layer with 1: factor ** depth is the total.",
        (_INITIALIZE, _SKIP),
    ),
    Cause(
        "layer",
        "One layer is off the trend of the others: its weights have another scale.",
        "Print the standard deviation of its weights times sqrt(fan_in), beside its neighbours'.",
        (_INITIALIZE,),
    ),
    Cause(
        "detached",
        "Nothing comes back at all: a detach() or no_grad(), a layer whose units are all dead, or weights that are all zero.",
        "Look for the last layer, from the loss back, whose weights still have a gradient.",
        (Remedy("Remove the detach, or initialise the layers that are zero or dead", "wp.initialize(model, batch)"),),
    ),
    Cause("not-finite", "A value became NaN or infinite on the way.", "", (Remedy("Look at the operation before the one named"),)),
)

VANISHING = Rule(
    id="WP201",
    title="vanishing gradient",
    claim="The gradient that reaches the first layer is not vanishingly small beside that of the last.",
    judged=(
        "The gradient with respect to each layer's pre-activation (after a normalisation that follows it), as the norm per "
        "example, first layer over last: free of the loss's scale. Below 1e-3 it fails: of the plain networks that "
        "`make bench-trainability` trains, SGD brought none of those to 0.9 accuracy and Adam less than half. Below 1e-2 it "
        "is suspect. A gradient that is exactly zero is looked at again after one small step, since zero-initialised "
        "branches and heads start so."
    ),
    causes=_CAUSES,
    references=(_SCHOENHOLZ, "Glorot & Bengio 2010"),
)

EXPLODING = Rule(
    id="WP202",
    title="exploding gradient",
    claim="The gradient does not grow out of bounds on its way back to the first layer.",
    judged=(
        "The same ratio as for WP201. Above 1e3 it fails, above 1e2 it is suspect; where normalisation layers "
        "stand between, it is suspect at most, since such networks grow and still train."
    ),
    causes=_CAUSES,
    references=(_SCHOENHOLZ, "Yang, Pennington, Rao, Sohl-Dickstein, Schoenholz 2019, arXiv 1902.08129"),
)

FORWARD = Rule(
    id="WP203",
    title="forward signal vanishes or explodes",
    claim="What distinguishes one example from another keeps its size on the way through the network.",
    judged=(
        "The standard deviation over the batch of each hidden layer's pre-activation (after a normalisation that "
        "follows it), last over first. Outside 1e-3 to 1e3 it fails, outside 1e-2 to 1e2 it is suspect. "
        "The output layer is left out: its size is a choice."
    ),
    causes=_CAUSES,
    references=(_POOLE,),
)

NOT_FINITE = Rule(
    id="WP207",
    title="first operation that made NaN or infinity",
    claim="The loss and every gradient are finite.",
    judged=(
        "Where the loss or a gradient is NaN or infinite it fails. Every operation of both passes is then watched, and the first on the "
        "way that made such a number of finite ones is named, with what went in. Minus infinity that a mask was filled with is no fault; "
        "what makes NaN of it is."
    ),
    causes=(
        Cause("log-of-zero", "A probability or a distance underflowed to 0 before its logarithm was taken.",
              remedies=(Remedy("Take the logarithm where the probability is made", "F.log_softmax(z, dim=-1)"),)),
        Cause("log-of-negative", "Rounding, or a missing activation, let a number below 0 into a logarithm.",
              remedies=(Remedy("Bound it from below by what the dtype resolves", "x.clamp_min(torch.finfo(x.dtype).tiny).log()"),)),
        Cause("division-by-zero", "A norm, a count or a standard deviation was 0.",
              remedies=(Remedy("Divide by a number that cannot be 0", "x / n.clamp_min(1)"),)),
        Cause("overflow", "A number grew beyond what the dtype can carry.",
              remedies=(Remedy("Subtract the largest first, as logsumexp does, or compute this in float32"),)),
        Cause("root-at-zero", "The slope of a square root, and of a norm, at exactly 0 is infinite; times 0 it is NaN.",
              remedies=(Remedy("Keep it away from 0 inside the root", "torch.sqrt(x + eps)  # not sqrt(x) + eps"),)),
        Cause("root-of-negative", "Rounding made a number that cannot be negative so.",
              remedies=(Remedy("Bound it from below", "x.clamp_min(0)"),)),
        Cause("masked-row", "Everything in a row of attention scores is masked.",
              remedies=(Remedy("Leave one position open, or set such rows to 0", "torch.where(mask.any(-1, keepdim=True), p, 0)"),)),
        Cause("out-of-domain", "An inverse function was asked beyond its ends, or for its slope there.",
              remedies=(Remedy("Stay inside by a little", "x.clamp(-1 + eps, 1 - eps)"),)),
        Cause("one-value", "A variance with n - 1 of a single value.",
              remedies=(Remedy("Divide by n, or give more values", "x.var(unbiased=False)"),)),
    ),
    remedies=(Remedy("Look at what goes into the operation named"),),
)  # fmt: skip

RULES = (VANISHING, EXPLODING, FORWARD, NOT_FINITE)
