"""WP2xx: the signal on its way through the network, and the gradient on its way back."""

from __future__ import annotations

from wellposed.findings import Remedy
from wellposed.rules.rule import Cause, Rule

_INITIALIZE = Remedy("Initialise every layer for the activation that follows it", "wp.initialize(model, batch)")
_SKIP = Remedy("Add normalisation layers or skip connections, which carry the signal past the layers that lose it")
_POOLE = "Poole, Lahiri, Raghu, Sohl-Dickstein, Ganguli 2016, arXiv 1606.05340"
_SCHOENHOLZ = "Schoenholz, Gilmer, Ganguli, Sohl-Dickstein 2017, arXiv 1611.01232"
_ALIVE = (
    Remedy("Initialise the layer, with biases at zero, and centre what goes in", "wp.initialize(model, batch)"),
    Remedy("Use an activation with a slope on both sides", "nn.LeakyReLU(0.1)"),
    Remedy("Where units die while it trains: lower the learning rate"),
)

_CAUSES = (
    Cause(
        "activation",
        "The slope of the activation is too small for these weights: a sigmoid's is at most 1/4, a saturated tanh's is"
        " near 0.",
        "wp.gain(activation) gives the weight standard deviation (times 1/sqrt(fan_in)) that keeps the signal.",
        (_INITIALIZE, Remedy("Use ReLU, GELU or tanh in hidden layers in place of what saturates"), _SKIP),
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
        "Nothing comes back at all: a detach() or no_grad(), or weights that are all zero.",
        "Look for the last layer, from the loss back, whose weights still have a gradient.",
        (Remedy("Remove the detach, or initialise the layers that are zero", "wp.initialize(model, batch)"),),
    ),
    Cause(
        "dead",
        "A layer's units are all on the flat side of their activation: nothing passes them, in either direction.",
        "Print the largest pre-activation of the layer named by WP204.",
        _ALIVE,
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

VANISHING = Rule(
    id="WP201",
    priority=220,
    follows=("WP302", "WP303", "WP301", "WP304", "WP203", "WP206", "WP204", "WP205"),
    cause_follows={"dead": ("WP304", "WP204"), "detached": ("WP403", "WP505", "WP501")},
    title="vanishing gradient",
    claim="The gradient that reaches the first layer is not vanishingly small beside that of the last.",
    judged=(
        "The gradient with respect to each layer's pre-activation (after a normalisation that follows it), as the norm"
        " per example, along the places that every way from an input to the loss passes; first over last but the"
        " output, whose size is a choice: free of the loss's scale. Below 1e-3 it fails: of the plain networks that"
        " `make bench-trainability` trains, SGD brought none of those to 0.9 accuracy and Adam less than half. Below"
        " 1e-2 it is suspect; of a single step ten times that is asked. A gradient that is exactly zero is looked at"
        " again after one small step, since zero-initialised branches and heads start so. It fails too where most of"
        " the first layer's gradient is lost to its dtype."
    ),
    causes=_CAUSES,
    remedies=(_INITIALIZE, _SKIP),
    references=(_SCHOENHOLZ, "Glorot & Bengio 2010"),
)

EXPLODING = Rule(
    id="WP202",
    priority=230,
    follows=("WP303", "WP301", "WP306"),
    title="exploding gradient",
    claim="The gradient does not grow out of bounds on its way back to the first layer.",
    judged=(
        "The same ratio as for WP201. Above 1e3 it fails, above 1e2 it is suspect; where a quarter of the places or"
        " more are normalised, it is suspect at most, since such networks grow and still train."
    ),
    causes=_CAUSES,
    remedies=(_INITIALIZE, _SKIP),
    references=(_SCHOENHOLZ, "Yang, Pennington, Rao, Sohl-Dickstein, Schoenholz 2019, arXiv 1902.08129"),
)

FORWARD = Rule(
    id="WP203",
    priority=180,
    follows=("WP302", "WP303", "WP301", "WP304", "WP306"),
    cause_follows={"activation": ("WP302", "WP303", "WP301", "WP304", "WP306", "WP205"), "dead": ("WP304", "WP204")},
    title="forward signal vanishes or explodes",
    claim="What distinguishes one example from another keeps its size on the way through the network.",
    judged=(
        "The standard deviation over the batch of each hidden layer's pre-activation (after a normalisation that "
        "follows it), last over first. Outside 1e-3 to 1e3 it fails, outside 1e-2 to 1e2 it is suspect. "
        "The output layer is left out: its size is a choice."
    ),
    causes=_CAUSES,
    remedies=(_INITIALIZE, _SKIP),
    references=(_POOLE,),
)

NOT_FINITE = Rule(
    id="WP207",
    priority=170,
    follows=("WP104", "WP101", "WP102", "WP303", "WP301", "WP304", "WP305", "WP306", "WP402"),
    title="first operation that made NaN or infinity",
    claim="The loss and every gradient are finite.",
    judged=(
        "Where the loss or a gradient is NaN or infinite it fails. Every operation of both passes is then watched, "
        "and the first on the way that made such a number of finite ones is named, with what went in. Minus infinity "
        "that a mask was filled with is no fault; what makes NaN of it is."
    ),
    causes=(
        Cause("log-of-zero", "A probability or a distance underflowed to 0 before its logarithm was taken.",
              remedies=(Remedy("Take the logarithm where the probability is made", "F.log_softmax(z, dim=-1)"),)),
        Cause("log-of-negative", "Rounding, or a missing activation, let a number below 0 into a logarithm.",
              remedies=(Remedy("Bound it from below by what the dtype resolves",
                               "x.clamp_min(torch.finfo(x.dtype).tiny).log()"),)),
        Cause("division-by-zero", "A norm, a count or a standard deviation was 0.",
              remedies=(Remedy("Divide by a number that cannot be 0", "x / n.clamp_min(1)"),)),
        Cause("overflow", "A number grew beyond what the dtype can carry.",
              remedies=(Remedy("Subtract the largest first, as logsumexp does, or compute this in float32"),)),
        Cause("root-at-zero", "The slope of a square root, and of a norm, at exactly 0 is infinite; times 0 it is NaN.",
              remedies=(Remedy("Keep it away from 0 inside the root", "torch.sqrt(x + eps)  # not sqrt(x) + eps"),)),
        Cause("root-of-negative", "Rounding made a number that cannot be negative so.",
              remedies=(Remedy("Bound it from below", "x.clamp_min(0)"),)),
        Cause("masked-row", "Everything in a row of attention scores is masked.",
              remedies=(Remedy("Leave one position open, or set such rows to 0",
                               "torch.where(mask.any(-1, keepdim=True), p, 0)"),)),
        Cause("out-of-domain", "An inverse function was asked beyond its ends, or for its slope there.",
              remedies=(Remedy("Stay inside by a little", "x.clamp(-1 + eps, 1 - eps)"),)),
        Cause("one-value", "A variance with n - 1 of a single value.",
              remedies=(Remedy("Divide by n, or give more values", "x.var(unbiased=False)"),)),
    ),
    remedies=(Remedy("Look at what goes into the operation named"),),
)  # fmt: skip

DEAD = Rule(
    id="WP204",
    priority=200,
    follows=("WP304", "WP101", "WP102", "WP303", "WP301"),
    title="dead units",
    claim="No layer has lost most of its units to the flat side of its activation.",
    judged=(
        "A unit is dead if its activation's slope stays below a hundredth of its steepest on every row of the batch."
        " Three quarters of a layer, where that is beyond what fair coins would do (one in a million), is suspect; all"
        " of a layer that every way passes fails. Looked at again after one small step, since what starts at zero may"
        " wake up."
    ),
    causes=(),
    remedies=_ALIVE,
    references=("Lu, Shin, Su, Karniadakis 2019, arXiv 1903.06733",),
)

SATURATED = Rule(
    id="WP205",
    priority=210,
    follows=("WP101", "WP102", "WP304", "WP303", "WP301"),
    title="saturated units",
    claim="Activations that are flat on both sides get most of what they read where they have a slope.",
    judged=(
        "The share of entries at which the slope is below a hundredth of its steepest: for tanh beyond about 3, for"
        " sigmoid about 6. Above one half it is suspect, above nine tenths it fails; at the very output it is suspect"
        " at most. Of attention the entropy of its rows: below a fifth of that of uniform attention it is suspect,"
        " below a twentieth it fails."
    ),
    causes=(
        Cause(
            "inputs-too-large",
            "The weights, or the inputs of the network, are too large for this activation.",
            "Compare the standard deviation of what goes in with 1.",
            (Remedy("Normalise the inputs", "wp.Standardizer().fit(x)"), _INITIALIZE),
        ),
        Cause(
            "attention-not-scaled",
            "The scores of an attention are so large that its softmax is almost an argmax.",
            "Compare the standard deviation of the scores with 1.",
            (
                Remedy(
                    "Divide the scores by the square root of the key's size",
                    "scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])",
                ),
            ),
        ),
    ),
    references=("Glorot & Bengio 2010", "Vaswani et al. 2017, section 3.2.1"),
)

COLLAPSE = Rule(
    id="WP206",
    priority=190,
    follows=("WP302", "WP303", "WP301", "WP304", "WP205", "WP204", "WP203"),
    title="different inputs collapse to one output",
    claim="Different inputs are still different at the last hidden layer.",
    judged=(
        "1 minus the mean cosine of different rows at the last hidden layer, over that at the first. Below 1e-4 it is"
        " suspect, below 1e-6 it fails: what the rows have in common is then more than 100 and 1000 times larger than"
        " what tells them apart."
    ),
    causes=(
        Cause(
            "common-part",
            "The activation's mean, or a bias, adds the same to every row at each layer, and the difference shrinks"
            " beside it.",
            "Subtract the mean over the batch before the next layer and look again.",
            (_INITIALIZE, _SKIP),
        ),
    ),
    remedies=(_INITIALIZE, _SKIP),
    references=(_POOLE, _SCHOENHOLZ),
)

_READ_MORE = Remedy("Let the loss read more than the last output, or shorten the sequences")

HORIZON = Rule(
    id="WP208",
    priority=240,
    title="recurrent horizon",
    claim="The network can remember over its sequences, and its gradient does not explode over them.",
    judged=(
        "The largest Lyapunov exponent of the layer's steps, by QR of their Jacobians on the batch's own inputs; for a"
        " loop written by hand the mean logarithm of the gradient's factor per use. Growth beyond 1e3 over the sequence"
        " fails. Where the loss reads the last output alone, a horizon (steps until an influence is below the dtype's"
        " rounding) shorter than the sequence is suspect, and one shorter than a tenth of it fails."
    ),
    causes=(
        Cause(
            "forgets",
            "Each step keeps only a part of what was there before: weights that shrink it, or inputs so large that the"
            " activation is flat.",
            "Change the first input and look at the last output.",
            (
                Remedy(
                    "Make the recurrent weights orthogonal, and let little come in at each step (or use gates)",
                    "nn.init.orthogonal_(rnn.weight_hh_l0)\nnn.init.normal_(rnn.weight_ih_l0, std=0.01)\n"
                    "nn.init.zeros_(rnn.bias_ih_l0)\nnn.init.zeros_(rnn.bias_hh_l0)",
                ),
                _READ_MORE,
            ),
        ),
        Cause(
            "gates-closed",
            "The gates that keep the state (forget gates of an LSTM, update gates of a GRU) start half shut: each step"
            " keeps about a half.",
            "Set their bias to log(steps) and measure again.",
            (
                Remedy(
                    "Open the gates that keep the state for about as many steps as the sequences have (Tallec &"
                    " Ollivier 2018)",
                    "h = rnn.hidden_size\nwith torch.no_grad():\n    rnn.bias_hh_l0[h : 2 * h] = math.log(steps)",
                ),
                _READ_MORE,
            ),
        ),
        Cause(
            "chaotic",
            "The recurrent weights are too large: two states that differ a little part at every step.",
            "The spectral radius of the recurrent weights, beside 1.",
            (
                Remedy("Make the recurrent weights orthogonal", "nn.init.orthogonal_(rnn.weight_hh_l0)"),
                Remedy("Clip the gradient"),
            ),
        ),
    ),
    references=(
        "Vogt, Puelma Touzel, Shlizerman, Lajoie 2022, arXiv 2006.14123",
        "Bengio, Simard, Frasconi 1994",
        "Tallec & Ollivier 2018, arXiv 1804.11188",
    ),
)

RULES = (VANISHING, EXPLODING, FORWARD, DEAD, SATURATED, COLLAPSE, NOT_FINITE, HORIZON)
