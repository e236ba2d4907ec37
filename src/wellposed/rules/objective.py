"""WP4xx: the objective: what is minimised, by which steps, through which parameters, from which inputs."""

from __future__ import annotations

from wellposed.findings import Remedy
from wellposed.rules.rule import NEGLIGIBLE, Cause, Rule

_RATE_LOWER = Remedy("Lower the learning rate until the loss on one batch falls from step to step")
_RATE_HIGHER = Remedy("Raise the learning rate: steps of about a thousandth of the weights are usual")

FIT = Rule(
    id="WP401",
    priority=20,
    title="output and loss do not fit",
    claim=(
        "The loss function gets what it is made for: scores, probabilities and targets of the shapes and ranges that it"
        " expects."
    ),
    judged=(
        "From the arguments of each known loss function as it is called: whether scores are probabilities already (rows"
        " sum to 1), how low the loss can become with outputs that the last activation allows, shapes that are"
        " broadcast against each other, targets outside of the classes or of the activation's reach. What makes the"
        " loss raise, or keeps it from falling below a tenth of a nat (a twentieth of the targets' variance) whatever"
        " the weights, fails; what only slows training is suspect."
    ),
    causes=(
        Cause(
            "double-softmax",
            "cross_entropy takes scores and applies the softmax itself; here it is applied twice.",
            "outputs.sum(1) is 1 for every row.",
            (
                Remedy(
                    "Leave the softmax out of the model; apply it only to read off probabilities",
                    "loss = cross_entropy(scores, targets)",
                ),
            ),
        ),
        Cause(
            "double-sigmoid",
            "binary_cross_entropy_with_logits applies the sigmoid itself; here it is applied twice.",
            "outputs lie between 0 and 1.",
            (Remedy("Leave the sigmoid out of the model", "loss = binary_cross_entropy_with_logits(scores, targets)"),),
        ),
        Cause(
            "bounded-scores",
            "An activation before the loss keeps scores within bounds, so that no class can be said to be certain.",
            "Print outputs.min() and outputs.max().",
            (Remedy("Give the loss the last layer's outputs, without an activation"),),
        ),
        Cause(
            "rectified-scores",
            "A ReLU before the loss sets scores to zero and passes no gradient back through them.",
            "(outputs == 0).float().mean()",
            (Remedy("Give the loss the last layer's outputs, without an activation"),),
        ),
        Cause(
            "missing-log-softmax",
            "nll_loss and kl_div take logarithms of probabilities; here they get something else.",
            "outputs.exp().sum(1) should be 1 for every row.",
            (Remedy("Apply log_softmax first, or let cross_entropy do so", "loss = cross_entropy(scores, targets)"),),
        ),
        Cause(
            "class-weights",
            "The weights of the classes are the wrong way round: the frequent class has the larger one.",
            "Print torch.bincount(targets) beside the weights.",
            (
                Remedy(
                    "Weigh each class by the inverse of its frequency",
                    "weight = len(targets) / (classes * torch.bincount(targets))",
                ),
            ),
        ),
        Cause(
            "missing-sigmoid",
            "binary_cross_entropy takes probabilities; here it gets numbers outside of 0 to 1.",
            "Print outputs.min() and outputs.max().",
            (
                Remedy(
                    "Take the loss that applies the sigmoid itself",
                    "loss = binary_cross_entropy_with_logits(scores, targets)",
                ),
            ),
        ),
        Cause(
            "one-unit-softmax",
            "The softmax of a single score is 1 whatever the score: nothing can be learned.",
            "outputs.shape[1] is 1.",
            (
                Remedy(
                    "For two classes take one score with the sigmoid's loss, or two scores with cross_entropy",
                    "loss = binary_cross_entropy_with_logits(scores.squeeze(1), targets.float())",
                ),
            ),
        ),
        Cause(
            "wrong-softmax-axis",
            "The softmax runs over the examples of the batch, and not over the classes.",
            "outputs.sum(0) is 1 for every column.",
            (Remedy("Leave it out before cross_entropy; else take the axis of the classes", "softmax(scores, dim=1)"),),
        ),
        Cause(
            "broadcast",
            "Outputs and targets have different shapes, and every output is held against every target.",
            "Print outputs.shape and targets.shape.",
            (Remedy("Give both one shape", "loss(outputs.squeeze(-1), targets)"),),
        ),
        Cause(
            "class-range",
            "A class index is below 0, or as large as the number of scores or larger.",
            "Print targets.min(), targets.max() and outputs.shape[1].",
            (Remedy("Count classes from 0, and give the last layer one output per class"),),
        ),
        Cause(
            "one-hot",
            "cross_entropy was given one-hot rows of whole numbers; it takes class indices (or probabilities as real"
            " numbers).",
            "targets.shape equals outputs.shape.",
            (Remedy("Give class indices", "targets.argmax(1)"),),
        ),
        Cause(
            "target-dtype",
            "The targets have a dtype that this loss does not take.",
            "Print targets.dtype.",
            (
                Remedy(
                    "Class indices are whole numbers, targets of regression and of binary losses real ones",
                    "targets.long(), targets.float()",
                ),
            ),
        ),
        Cause(
            "target-range",
            "Some targets are outside of what the outputs, or the loss, can reach.",
            "Print targets.min() and targets.max().",
            (Remedy("Leave the last activation out, or scale the targets into its range"),),
        ),
        Cause(
            "squared-error-on-classes",
            "Squared error on classes: its gradient vanishes where the last activation saturates on the wrong side.",
            "",
            (Remedy("Take the cross-entropy of scores without an activation"),),
        ),
        Cause(
            "shapes",
            "The loss function cannot be called on these shapes.",
            "Print outputs.shape and targets.shape.",
            (
                Remedy(
                    "Scores have the classes along axis 1: [N, C] or [N, C, ...]; targets [N] or [N, ...]",
                    "scores.movedim(-1, 1)",
                ),
            ),
        ),
    ),
    references=("Goodfellow, Bengio, Courville: Deep Learning, 2016, section 6.2.2",),
)

RATE = Rule(
    id="WP402",
    priority=260,
    follows=("WP104", "WP401", "WP403", "WP404", "WP101", "WP102", "WP303", "WP301", "WP306", "WP202", "WP305"),
    title="learning rate against curvature",
    claim=(
        "The optimizer's steps are small enough for the curvature of the loss, and large enough to change the weights."
    ),
    judged=(
        "A few steps of the given optimizer on a copy, all on this batch. They fail where the loss ends not finite, or"
        " above twice what it was, while a tenth (or a hundredth) of the learning rate lowers it; for gradient descent"
        " the largest eigenvalue of the Hessian tells how small it must be (learning rate times eigenvalue below 2)."
        " They fail too where the step is below half a unit in the last place of most weights, so that nothing changes,"
        " or where the optimizer's own arithmetic makes NaN. Suspect are steps of which ten thousand would not move a"
        " weight by a hundredth of its size, a first step of more than half the weights' size where a smaller rate gets"
        " further, steps that hardly lower the loss where a hundred or a thousand times the rate does, and weight decay"
        " that moves weights further than the gradient does. Without an optimizer there is nothing to judge."
    ),
    causes=(
        Cause(
            "too-large",
            "The steps overshoot: the loss grows from step to step.",
            "Divide the learning rate by ten.",
            (_RATE_LOWER,),
        ),
        Cause(
            "too-small",
            "The steps hardly move the weights.",
            "Print (lr * grad).norm() / weight.norm().",
            (_RATE_HIGHER,),
        ),
        Cause(
            "rounded-away",
            "The steps are smaller than the gaps between the numbers of the weights' dtype, so the weights stay as they"
            " are.",
            "",
            (Remedy("Raise the learning rate, or keep the weights in float32"),),
        ),
        Cause(
            "decay",
            "Weight decay outweighs the gradient: the weights shrink whatever the data say.",
            "Print weight_decay * weight.norm() and grad.norm().",
            (Remedy("Lower the weight decay", "weight_decay=1e-4"),),
        ),
        Cause(
            "not-finite",
            "The optimizer divides by what is 0, or leaves the range of the weights' dtype.",
            "Print the parameters after one step.",
            (
                Remedy(
                    "Keep the weights in float32 and cast in the forward pass",
                    'with torch.autocast("cuda", dtype=torch.float16):',
                ),
                Remedy("Give the optimizer an eps that the dtype can hold", "eps=1e-4"),
            ),
        ),
        Cause(
            "ascent",
            "The steps raise the loss however small they are: it is maximised.",
            "",
            (Remedy("Turn the sign of the loss"),),
        ),
    ),
    references=("LeCun et al.: Efficient BackProp, 1998", "Cohen et al. 2021, arXiv 2103.00065"),
)

REACHED = Rule(
    id="WP403",
    priority=30,
    title="parameters unused, detached or not in the optimizer",
    claim="Every parameter of the model that should be trained gets a gradient and is in the optimizer.",
    judged=(
        "A parameter that the optimizer does not know is never trained: none of them known fails, some of them known"
        " is suspect, as it may be on purpose. Layers that the loss depends on and that are no parameters of the model"
        f" (kept in a plain list) fail. Layers that the loss does not depend on are suspect from {100 * NEGLIGIBLE:g} %"
        " of the model's parameters on, and a note below."
    ),
    causes=(
        Cause(
            "not-in-optimizer",
            "The optimizer was built from other parameters: of another model, or before layers were replaced.",
            "",
            (
                Remedy(
                    "Build the optimizer when the model is complete",
                    "optimizer = type(optimizer)(model.parameters(), lr=...)",
                ),
            ),
        ),
        Cause(
            "unregistered",
            "Layers in a plain list or dictionary are no part of the model: they have no place in parameters().",
            "len(list(model.parameters()))",
            (Remedy("Keep them in a ModuleList or ModuleDict", "self.layers = nn.ModuleList(layers)"),),
        ),
        Cause(
            "unused",
            "The loss does not depend on these parameters: a layer that is never called, or whose output is dropped.",
            "",
            (Remedy("Use the layer, or remove it"),),
        ),
        Cause(
            "detached",
            "The graph is cut by a detach, no_grad, item or a copy in NumPy between these parameters and the loss.",
            "",
            (Remedy("Take out what cuts it"),),
        ),
    ),
)

DEPENDS = Rule(
    id="WP404",
    priority=50,
    follows=("WP401", "WP302", "WP303", "WP301", "WP304", "WP206", "WP204", "WP205", "WP203"),
    title="loss does not depend on the inputs, or mixes the rows of a batch",
    claim="An example's outputs depend on its own inputs, and on no other example's.",
    judged=(
        "One example is given another's inputs. Its own outputs must change, here or after a small step; where they do"
        " not by more than rounding, the rule fails. Those of other examples must not, in evaluation mode: where they"
        " change by more than a thousandth of the largest output, the rule fails if an operation is known that runs"
        " over the batch's axis, and is suspect if not."
    ),
    causes=(
        Cause(
            "ignored",
            "The outputs do not depend on the inputs.",
            "Compare model(x) and model(x.roll(1, 0)).",
            (Remedy("Follow the inputs through forward(): what is overwritten, multiplied by 0 or dropped?"),),
        ),
        Cause(
            "rows-mixed",
            "An operation runs over the batch in place of time, channels or classes.",
            "Compare model(x)[:1] and model(x[:1]).",
            (Remedy("Check the axes: batch_first=True, softmax(dim=-1), permute in place of view"),),
        ),
    ),
)

RULES = (FIT, RATE, REACHED, DEPENDS)
