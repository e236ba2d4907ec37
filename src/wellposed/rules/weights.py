"""WP3xx: the initial weights."""

from __future__ import annotations

from wellposed.findings import Remedy
from wellposed.rules.rule import Cause, Rule

_INITIALIZE = Remedy("Initialise every layer for the activation that follows it", "wp.initialize(model, batch)")
_HE = "He, Zhang, Ren, Sun 2015, arXiv 1502.01852"
_GLOROT = "Glorot & Bengio 2010, proceedings.mlr.press/v9/glorot10a"

VARIANCE = Rule(
    id="WP301",
    priority=140,
    follows=("WP303",),
    title="weight variance wrong for the activation that follows",
    claim="The weights and the activations that follow them keep the size of the signal.",
    judged=(
        "Per layer, the factor on the size of the gradient that theory gives for its weights and its activation:"
        " sqrt(fan_in mean(W^2) E[phi'(sqrt(q) z)^2]), z ~ N(0, 1), q the measured mean square of the pre-activation,"
        " at most 1 (without E for a first layer, through which no gradient passes). Judged are layers on the way of"
        " every signal (not in a branch) that nothing else rescales: no normalisation or sum follows, and it is not the"
        " output layer. The product over these layers fails outside 1e-3 to 1e3 and is suspect outside 1e-2 to 1e2; one"
        " layer on its own fails outside 1e-2 to 1e2 and is suspect outside 1e-1 to 10. The sampling error of mean(W^2)"
        " must be exceeded too."
    ),
    causes=(
        Cause(
            "gain",
            "All layers share the factor: the scheme does not fit the activation.",
            "wp.gain(activation).backward",
            (_INITIALIZE,),
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
    priority=120,
    title="symmetric or constant weights",
    claim=(
        "Units of the same layer differ, in their weights or in their gradients, so that training can tell them apart."
    ),
    judged=(
        "Two hidden units are twins when their incoming weights and biases are the same numbers and so are the"
        " gradients of these, here and after one small step: then no step of training ever separates them. A layer all"
        " of whose units have a twin fails, one with some twins is suspect. Dead or deliberate zeros whose gradients"
        " differ hold. Suspect are also units that training would part but that start alike: half of a layer's with the"
        " weights of another unit, rows of a mean cosine above 0.5 (a common mean far from 0), and residual branches"
        " with the same weights; layers with the same weights one after another are a note, as they were not seen to"
        " cost anything."
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
        Cause(
            "alike",
            "The weights share a mean far from zero, as those of U(0, 1) do: every unit sees the sum of its inputs and"
            " little else.",
            "print(weight.mean(), weight.std())",
            (Remedy("Draw the weights about zero", "wp.initialize(model, batch)"),),
        ),
        Cause(
            "copied-layers",
            "Layers were built by copying one, as torch.nn.TransformerEncoder does: they start as the same map.",
            "torch.equal(layers[0].weight, layers[1].weight)",
            (Remedy("Draw each layer anew", "wp.initialize(model, batch)"),),
        ),
    ),
    references=("Goodfellow, Bengio, Courville: Deep Learning, 2016, section 8.4",),
)

_STANDARDIZE_TARGETS = Remedy(
    "Standardise the targets (and undo it for predictions)", "t = wp.Standardizer().fit(y_train)\ny = t.transform(y)"
)

INITIAL_LOSS = Rule(
    id="WP305",
    priority=250,
    follows=("WP401", "WP101", "WP102", "WP303", "WP301", "WP306", "WP203"),
    cause_follows={"targets-too-large": ("WP401",), "targets-not-centred": ("WP401",)},
    title="loss at initialisation",
    claim="The loss is not far above that of a constant prediction.",
    judged=(
        "Excess in nats over a constant prediction: for cross-entropy the loss minus ln C, that of the same probability"
        " for all C classes; for squared error half the logarithm of the loss over the targets' variance, its"
        " equivalent for a Gaussian likelihood. Above 4.6 it fails, above 1.15 it is suspect; the standard error of the"
        " mean over the batch is taken off first. Targets of a squared error whose root mean square is 30 times that of"
        " the outputs (or 1, if that is more) are suspect, 1,000 times fail. Logits of standard deviation s cost about"
        " s^2 / 2."
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
            (_STANDARDIZE_TARGETS,),
        ),
        Cause(
            "targets-too-large",
            "The targets are many times larger than what a network gives at initialisation.",
            "print(targets.std(), model(inputs).std())",
            (_STANDARDIZE_TARGETS,),
        ),
    ),
    references=("Karpathy: A Recipe for Training Neural Networks, 2019",),
)

FAN = Rule(
    id="WP303",
    priority=130,
    title="wrong fan",
    claim="Layers that follow a common rule count their own inputs in it.",
    judged=(
        "fan_in mean(W^2) is the same number for all layers that a rule such as He's, Glorot's or PyTorch's default"
        " draws. Where most layers that no normalisation rescales share it, a layer off by more than a factor 2 is"
        " suspect, and by more than 100 fails, if a miscounted fan explains the factor within 5 %: the outputs for the"
        " inputs, a kernel, groups or stride left out, the variance taken for the standard deviation. A layer off by"
        " more than 10 without such a reason is suspect. What more than a tenth of the layers share is taken for meant."
        " The sampling error of mean(W^2) at 4 sigma is taken off."
    ),
    causes=(
        Cause(
            "fan",
            "The number of inputs per output was miscounted; PyTorch itself counts that of transposed convolutions on"
            " the wrong side.",
            "wp.fan(layer).fan_in",
            (_INITIALIZE,),
        ),
        Cause(
            "alone",
            "The layer was drawn by another rule than the others: a constant, or a layer that was forgotten.",
            "Print weight.std() * wp.fan(layer).fan_in ** 0.5 for this layer and its neighbours.",
            (_INITIALIZE,),
        ),
    ),
    references=(_HE, _GLOROT, "pytorch issue 23854"),
)

BIAS = Rule(
    id="WP304",
    priority=150,
    title="biases drown the signal",
    claim="Biases leave what tells one example from another to be seen.",
    judged=(
        "The root mean square of a hidden layer's bias over the standard deviation of its output over the batch: above"
        " 10 it is suspect, above 100 it fails. Judged where the layer's input tells examples apart and no"
        " normalisation takes the bias away again."
    ),
    causes=(
        Cause(
            "large",
            "The bias was drawn like a weight, set to a constant, or never divided by what the weights were.",
            "print(layer.bias)",
            (_INITIALIZE, Remedy("Start biases at zero", "torch.nn.init.zeros_(layer.bias)")),
        ),
    ),
    references=("Goodfellow, Bengio, Courville: Deep Learning, 2016, section 8.4",),
)

GROWTH = Rule(
    id="WP306",
    priority=160,
    title="residual branches grow",
    claim="Residual branches keep the stream's size.",
    judged=(
        "The root mean square of the stream behind the last branch over that behind the first, at the sums that every"
        " way passes: above 100 it is suspect, above 1000 it fails. With L branches of the stream's own size it grows"
        " as 2^(L/2) where branches read the stream as it is, and as sqrt(L) where a normalisation stands before them."
    ),
    causes=(
        Cause("all", "No branch is scaled by the number of branches.", "wp.trace(problem).branches", (_INITIALIZE,)),
        Cause("one", "One branch is far larger than the stream.", "wp.trace(problem).branches", (_INITIALIZE,)),
    ),
    references=("Zhang, Dauphin, Ma 2019 (Fixup), arXiv 1901.09321", "De & Smith 2020 (SkipInit), arXiv 2002.10444"),
)

RULES = (VARIANCE, SYMMETRIC, FAN, BIAS, INITIAL_LOSS, GROWTH)
