"""WP501: gradient wrong."""

from __future__ import annotations

from wellposed.findings import Remedy
from wellposed.rule import Cause, Rule

WRONG = Rule(
    id="WP501",
    subject="gradients",
    priority=40,
    cause_follows={"": ("WP409",), "detached": ("WP409",)},
    title="gradient wrong",
    claim="The gradient agrees with differences of the loss, within their own error.",
    judged=(
        "Along random directions within each tensor, and one along the claimed gradient, the claimed slope is held"
        " against a two-sided difference whose error bar comes from the measured noise and curvature of the loss. It"
        " fails only where they differ by more than the bar; there is no tolerance."
    ),
    causes=(
        Cause(
            "scale",
            "The gradient is a constant multiple of the true one: a factor 2, a mean taken for a sum, or a batch size"
            " lost.",
            "The ratio of claimed to measured slope is the same along every direction.",
            (Remedy("Divide this tensor's gradient by the factor, or find the sum that should be a mean"),),
        ),
        Cause(
            "mean-or-sum",
            "The loss takes a mean where the gradient sums, or the other way round: the factor is the batch size or the"
            " element count.",
            "The ratio of claimed to measured slope is that number, or one over it, along every direction.",
            (Remedy("Divide once, where the loss does: by the batch size for a mean over examples"),),
        ),
        Cause(
            "doubled",
            "Every call adds to what the calls before it left: the gradient is not zeroed.",
            "Call the gradient twice at the same parameters: the second is larger by the first.",
            (Remedy("Zero the gradient before each backward pass", "optimizer.zero_grad()"),),
        ),
        Cause(
            "stale",
            "The gradient is that of earlier parameters, or of another batch: something is cached that should be"
            " computed anew.",
            "Change the parameters and call the gradient twice: it changes late, or not at all.",
            (
                Remedy(
                    "Compute what backward needs in the forward pass of the same step; empty the cache between steps"
                ),
            ),
        ),
        Cause(
            "transposed",
            "The gradient is right for the transposed weight, or was reshaped where it should have been transposed.",
            "The transposed claim agrees with the loss along every direction.",
            (Remedy("Transpose this tensor's gradient: dW = x.T @ d for y = x @ W, d.T @ x for y = x @ W.T"),),
        ),
        Cause(
            "permuted",
            "The gradient has the right numbers in another order: an axis reversed, shifted, or its blocks (gates,"
            " heads) exchanged.",
            "The claim in that other order agrees with the loss along every direction.",
            (Remedy("Use the same order of gates, heads or positions in the backward pass as in the forward pass"),),
        ),
        Cause(
            "wrong-axis",
            "The gradient was summed or averaged over the wrong axis.",
            "Its entries add up to what the true ones do, but each is wrong.",
            (Remedy("Sum over the batch axis, and keep the axis of the parameter", "db = d.sum(axis=0)"),),
        ),
        Cause(
            "wrong-rows",
            "Some rows, columns or channels are wrong and the rest is right: a slice that stops early, a mask, an index"
            " off by one.",
            "Look at the entries named: they have an index in common.",
            (Remedy("Look for the slice, mask or loop bound that treats these indices apart"),),
        ),
        Cause(
            "overwritten",
            "What belongs to one index was assigned, so that the last one wins, where it must be added up.",
            "The wrong rows are those whose index occurs more than once in the batch.",
            (Remedy("Accumulate", "np.add.at(dE, index, d)   # torch: dE.index_add_(0, index, d)"),),
        ),
        Cause(
            "batch-statistics",
            "A normalisation's backward pass takes its mean or its variance for a constant; both depend on the input.",
            "The claim without its mean and its part along the normalised input agrees with the loss.",
            (Remedy("Use the whole formula", "dx = (g - g.mean(axis) - y * (g * y).mean(axis)) / std"),),
        ),
        Cause(
            "activation-derivative",
            "The derivative of an activation is wrong, or is taken at the output where the input belongs (or the other"
            " way round).",
            "Plot the derivative that the backward pass uses against differences of the activation.",
            (Remedy("For y = tanh(x) it is 1 - y**2, for y = sigmoid(x) y * (1 - y), for ReLU x > 0"),),
        ),
        Cause(
            "missing-factor",
            "A factor or a mask that the forward pass multiplies by is left out of the backward pass: dropout, padding,"
            " a scale.",
            "Multiply by it and check again.",
            (Remedy("Multiply the incoming gradient by the same factor or mask", "dx = d * mask"),),
        ),
        Cause(
            "ignored-cotangent",
            "The backward pass does not use the incoming gradient: it is right only where that is one.",
            "The gradient of 2 J is the gradient of J.",
            (Remedy("Multiply by the incoming gradient (grad_output, the cotangent)"),),
        ),
        Cause(
            "detached",
            "Part of the way from this tensor to the loss carries no gradient: detach, .data, no_grad, NumPy,"
            " stop_gradient.",
            "Look for these words between the tensor and the loss.",
            (Remedy("Take the detach out, or make it deliberate by leaving that part out of the loss"),),
        ),
        Cause(
            "ignored-parameters",
            "The loss is computed from other arrays than those it is given: globals, attributes, or copies made"
            " before.",
            "Change a parameter by hand and call the loss.",
            (Remedy("Compute the loss from its argument", 'value = lambda p: loss(p["W"], p["b"])'),),
        ),
        Cause(
            "in-place",
            "A value that the backward pass needs is edited in place where autograd does not see it: through .data,"
            " detach() or NumPy.",
            "Edit a clone instead, and see whether the gradient changes.",
            (Remedy("Edit a copy, or let autograd see the edit", "y = y.clamp(max=1)"),),
        ),
        Cause(
            "straight-through",
            "The loss is flat in steps, as behind a rounding, and the gradient is that of something smooth in its"
            " place.",
            "Is it a straight-through estimator?",
            (Remedy("Nothing, where it is meant; else leave the rounding out of what is trained"),),
        ),
        Cause(
            "reversed",
            "A function of one's own passes its input on as it is and a negative multiple of the gradient back: a"
            " gradient reversal, as of adversarial training against a domain.",
            "Is it one?",
            (Remedy("Nothing, where it is meant; else pass the gradient back as it comes"),),
        ),
        Cause(
            "sign",
            "The gradient points the wrong way.",
            "The ratio of claimed to measured slope is -1 along every direction.",
            (Remedy("Change the sign where this tensor's gradient is computed"),),
        ),
        Cause(
            "missing-weight-decay",
            "The loss has an L2 term in this tensor, its gradient does not.",
            "Measured minus claimed is the same multiple of the weight along every direction.",
            (Remedy("Add the penalty's derivative", "grad[name] += coefficient * params[name]"),),
        ),
        Cause(
            "extra-weight-decay",
            "The gradient has an L2 term in this tensor, the loss does not.",
            "Claimed minus measured is the same multiple of the weight along every direction.",
            (Remedy("Add the penalty to the loss, or take it out of the gradient"),),
        ),
        Cause(
            "raises",
            "The forward pass runs, the backward pass does not: a custom backward returns a gradient of another shape,"
            " or uses what was freed or never saved.",
            "Call loss.backward() alone and read the traceback.",
            (Remedy("Return from backward one gradient per input of forward, each of that input's shape"),),
        ),
        Cause(
            "slight",
            "The gradient differs by less than 1e-7 of its size, and by more than the measurement's error: an iteration"
            " that stops early.",
            "Let the iteration run to the end: the difference shrinks.",
        ),
        Cause(
            "not-finite",
            "The backward pass divides by zero or overflows where the forward pass does not: sqrt, norm or log at 0, 0"
            " * inf in a mask.",
            "Print the gradient of each intermediate value, from the loss backwards.",
            (
                Remedy(
                    "Keep the argument away from the singular point before the operation, not after",
                    "torch.sqrt(x.clamp_min(tiny))",
                ),
            ),
        ),
    ),
    remedies=(
        Remedy(
            "Read the lines that compute this tensor's gradient, at the entry named; check the tensors nearest the loss"
            " first"
        ),
    ),
    references=("Bengio: Practical recommendations, 2012, section 4.1", "CS231n: Gradient checks"),
    needs=("loss",),
    figures=("gradient",),
    judge=lambda measured: measured.gradient_check.of("WP501"),
)
