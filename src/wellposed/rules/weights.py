"""WP3xx: the initial weights."""

from __future__ import annotations

from wellposed.findings import Remedy
from wellposed.rules.rule import Cause, Rule

_INITIALIZE = Remedy("Initialise every layer for the activation that follows it", "wp.initialize(model, batch)")
_HE = "He, Zhang, Ren, Sun 2015, arXiv 1502.01852"
_GLOROT = "Glorot & Bengio 2010, proceedings.mlr.press/v9/glorot10a"

VARIANCE = Rule(
    id="WP301",
    title="weight variance wrong for the activation that follows",
    claim="The weights and the activations that follow them keep the size of the signal.",
    judged=(
        "Per layer, the factor on the size of the gradient that theory gives for its weights and its activation: "
        "sqrt(fan_in mean(W^2) E[phi'(sqrt(q) z)^2]), z ~ N(0, 1), q the measured mean square of the pre-activation, "
        "at most 1 (without E for a first layer, through which no gradient passes). "
        "Judged are layers on the way of every signal (not in a branch) that nothing else rescales: no normalisation or "
        "sum follows, and it is not the "
        "output layer. The product over these layers fails outside 1e-3 to 1e3 and is suspect outside 1e-2 to 1e2; one layer "
        "on its own fails outside 1e-2 to 1e2 and is suspect outside 1e-1 to 10. The sampling error of mean(W^2) must be exceeded too."
    ),
    causes=(
        Cause(
            "gain", "All layers share the factor: the scheme does not fit the activation.", "wp.gain(activation).backward", (_INITIALIZE,)
        ),
        Cause(
            "layer",
            "This layer alone is off: a fan counted on the wrong side, a copied constant, or a forgotten layer.",
            "Print weight.std() * fan_in ** 0.5 for this layer and its neighbours.",
            (_INITIALIZE,),
        ),
    ),
    references=(_HE, _GLOROT, "LeCun et al.: Efficient BackProp, 1998"),
)

SYMMETRIC = Rule(
    id="WP302",
    title="symmetric or constant weights",
    claim="Units of the same layer differ, in their weights or in their gradients, so that training can tell them apart.",
    judged=(
        "Two hidden units are twins when their incoming weights and biases are the same numbers and so are the "
        "gradients of these, here and after one small step: then no step of training ever separates them. A layer all "
        "of whose units have a twin fails, "
        "one with some twins is suspect. Dead or deliberate zeros whose gradients differ hold."
    ),
    causes=(
        Cause(
            "constant",
            "All weights of the layer are one number (often zero): every unit computes the same.",
            remedies=(Remedy("Draw the weights at random", "wp.initialize(model, batch)"),),
        ),
        Cause(
            "cloned",
            "Rows of the weight were copied, as by tiling or by building two halves from one draw.",
            remedies=(Remedy("Draw each copy anew", "wp.initialize(model, batch)"),),
        ),
    ),
    references=("Goodfellow, Bengio, Courville: Deep Learning, 2016, section 8.4",),
)

INITIAL_LOSS = Rule(
    id="WP305",
    title="loss at initialisation",
    claim="The loss is not far above that of the best constant prediction.",
    judged=(
        "Excess in nats over the constant predictor: for cross-entropy the loss minus the entropy of the batch's class frequencies "
        "(never above ln C); for squared error half the logarithm of the loss over the targets' variance, its equivalent for a "
        "Gaussian likelihood. Above 4.6 it fails, above 1.15 it is suspect; the "
        "standard error of the mean over the batch is taken off first. Logits of standard deviation s cost about s^2 / 2."
    ),
    causes=(
        Cause(
            "logits-too-large",
            "The network is sure of itself before it has seen data: the first steps only shrink the logits.",
            "print(model(inputs).std())",
            (Remedy("Make the output layer small", "with torch.no_grad():\n    head.weight.mul_(0.1)"),),
        ),
        Cause(
            "targets-not-centred",
            "The targets' mean or size is far from what the network gives at initialisation.",
            "print(targets.mean(), targets.std())",
            (
                Remedy(
                    "Standardise the targets (and undo it for predictions)",
                    "t = wp.Standardizer().fit(y_train)\ny = t.transform(y)",
                ),
            ),
        ),
    ),
    references=("Karpathy: A Recipe for Training Neural Networks, 2019",),
)

RULES = (VARIANCE, SYMMETRIC, INITIAL_LOSS)
