"""WP509: the same gradient on every path."""

from __future__ import annotations

from wellposed.findings import Remedy
from wellposed.gradients.paths.apart import ABOVE, COSTS, FINE, MODEL_COSTS, POINTS, ROUGH, ROUNDINGS
from wellposed.rule import Cause, Rule

PATHS = Rule(
    id="WP509",
    subject="gradients",
    priority=65,
    title="another gradient on this path",
    claim="Outputs and gradients on this path are those of the reference, up to rounding.",
    judged=(
        f"The reference in float64 and the candidate are run at {POINTS} points that are a little apart, the reference"
        " in the candidate's format at two of them, with the same incoming gradients and random numbers: rounding is"
        " another one at each point, a fault is the same. It fails where, in a tensor, its slope or its slices along an"
        " axis, the mean difference to float64 is beyond the chance of rounding, beyond"
        f" {ROUNDINGS:g} units of roundoff (what constants that are rounded once may do; in float32 up to {FINE:g}),"
        f" beyond {ABOVE:g} times what is systematic in the reference's own rounding, and beyond the rounding of one"
        f" point; where it scatters {ROUGH:g} times as much as the reference; and where outputs or gradients stay"
        " behind when inputs move. Causes are confirmed by running the candidate otherwise: twice, laid out in one"
        " piece, without a cast cache, with copies of what is saved, in float64, with sizes cut to whole blocks."
        " Functions that are right are tried on other inputs of their kind."
        f" Precision alone is suspect, from {100 * COSTS:g} % of a kernel's tensor and {100 * MODEL_COSTS:g} % of a"
        " model's on. A full check-up holds a problem as it is against itself with nothing fused, cast or recomputed."
    ),
    causes=(
        Cause(
            "forward",
            "The outputs are others already: the forward pass computes something else.",
            "Compare the outputs alone.",
            (Remedy("Mend the forward pass first: its gradient may be right for what it computes"),),
        ),
        Cause(
            "scale",
            "The gradient is a multiple of the right one: a count, a mean over something else, a constant.",
            "Their ratio is the same for all entries.",
        ),
        Cause("sign", "The gradient, or a part of it, has the wrong sign.", "The slope is -1."),
        Cause(
            "missing-term",
            "A part of the gradient is missing, one too many is there, or one has another sign or factor: a second way"
            " from the tensor to the output.",
            "The difference is not along the gradient, and is everywhere.",
            (Remedy("Derive it anew for each way on which the tensor reaches the output, statistics included"),),
        ),
        Cause(
            "wrong-rows",
            "Some rows (channels, heads, experts) are wrong, the others are right.",
            "The difference is in these slices alone.",
        ),
        Cause(
            "tail",
            "The last block is wrong, where the size is no multiple of the block's.",
            "The wrong slices begin at a multiple of a power of two and go to the end.",
            (Remedy("Mask the last block's loads, sums and stores by the size"),),
        ),
        Cause(
            "padding",
            "Gradient goes into places that nothing depends on, as padding, or is lost beside them.",
            "Where the right gradient is zero, this is not.",
            (Remedy("Mask in the backward pass what the forward pass masks"),),
        ),
        Cause(
            "stride",
            "It is wrong only for inputs or incoming gradients that do not lie in one piece.",
            "With contiguous copies it is right.",
            (Remedy("Take strides into account, or call .contiguous() on entry", "grad = grad.contiguous()"),),
        ),
        Cause(
            "new-dropout",
            "The backward pass runs the forward pass again with other random numbers.",
            "The backward pass draws random numbers.",
            (Remedy("Keep the generator's state for the second run", "checkpoint(f, x, preserve_rng_state=True)"),),
        ),
        Cause(
            "stale-cache",
            "A copy of the weights from before is used.",
            "Outputs do not follow the weights; or without autocast's cache it is right.",
            (Remedy("Cast anew whenever weights have changed, and never under no_grad within autocast"),),
        ),
        Cause(
            "precision",
            "It is right in float64: sums are kept in a format that is too coarse for their length.",
            "The candidate's own arithmetic in float64 is right.",
            (Remedy("Accumulate in float32, and round once at the end"),),
        ),
        Cause(
            "nondeterministic",
            "Two runs on the same inputs differ by more than rounding: updates are lost, or memory is read that nobody"
            " wrote.",
            "Run it twice.",
            (Remedy("Use atomic additions, and initialise what is added to"),),
        ),
        Cause(
            "in-place",
            "What the backward pass needs was changed after it had been saved, past autograd's notice.",
            "With copies of what is saved it is right.",
            (Remedy("Do not write to saved tensors through .data, NumPy or a kernel; save a copy"),),
        ),
    ),
    remedies=(Remedy("Compare the wrong tensor's backward formula with the reference's"),),
    needs=("loss",),
    full=True,
    judge=lambda measured: measured.paths,
    references=("Satterthwaite 1946", "Higham, Accuracy and Stability of Numerical Algorithms, 2002"),
)
