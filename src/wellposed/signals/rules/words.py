"""Words that rules on signals share: causes, remedies, references."""

from __future__ import annotations

from wellposed.findings import Remedy
from wellposed.rule import Cause

INITIALIZE = Remedy("Initialise every layer for the activation that follows it", "wp.initialize(model, batch)")
SKIP = Remedy("Add normalisation layers or skip connections, which carry the signal past the layers that lose it")
POOLE = "Poole, Lahiri, Raghu, Sohl-Dickstein, Ganguli 2016, arXiv 1606.05340"
SCHOENHOLZ = "Schoenholz, Gilmer, Ganguli, Sohl-Dickstein 2017, arXiv 1611.01232"
ALIVE = (
    Remedy("Initialise the layer, with biases at zero, and centre what goes in", "wp.initialize(model, batch)"),
    Remedy("Use an activation with a slope on both sides", "nn.LeakyReLU(0.1)"),
    Remedy("Where units die while it trains: lower the learning rate"),
)

CAUSES = (
    Cause(
        "activation",
        "The slope of the activation is too small for these weights: a sigmoid's is at most 1/4, a saturated tanh's is"
        " near 0.",
        "wp.gain(activation) gives the weight standard deviation (times 1/sqrt(fan_in)) that keeps the signal.",
        (INITIALIZE, Remedy("Use ReLU, GELU or tanh in hidden layers in place of what saturates"), SKIP),
    ),
    Cause(
        "gain",
        "The weights of every layer are a little too small or too large; with depth the factors multiply.",
        "Compare the factor per layer with 1: factor ** depth is the total.",
        (INITIALIZE, SKIP),
    ),
    Cause(
        "layer",
        "One layer is off the trend of the others: its weights have another scale.",
        "Print the standard deviation of its weights times sqrt(fan_in), beside its neighbours'.",
        (INITIALIZE,),
    ),
    Cause(
        "detached",
        "Nothing comes back at all: a detach() or no_grad(), or weights that are all zero.",
        "Look for the last layer, from the loss back, whose weights still have a gradient.",
        (Remedy("Remove the detach, or initialise the layers that are zero", "wp.initialize(model, batch)"),),
    ),
    Cause(
        "dead",
        "A layer's units are all on the flat side of their activation: nothing passes them, in either direction.",
        "Print the largest pre-activation of the layer named by WP204.",
        ALIVE,
    ),
    Cause(
        "dtype",
        "The gradient is smaller than the smallest number of its dtype, so it becomes 0 though it is not.",
        "Run the same step in float32 and compare.",
        (Remedy("Scale the loss, or keep what is small in float32", "scaler = torch.amp.GradScaler()"),),
    ),
    Cause(
        "not-finite",
        "A value became NaN or infinite on the way.",
        "",
        (Remedy("Look at the operation before the one named"),),
    ),
)
