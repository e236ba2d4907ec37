"""WP1xx: the inputs."""

from __future__ import annotations

from wellposed.findings import Remedy
from wellposed.rules.rule import Cause, Rule

_STANDARDIZE = Remedy(
    "Subtract each feature's mean and divide by its standard deviation, with the training set's numbers everywhere",
    "standardizer = wp.Standardizer().fit(x_train)\nx = standardizer.transform(x)",
)
_LECUN = "LeCun, Bottou, Orr, Müller: Efficient BackProp, 1998, section 4.3"

NOT_STANDARD = Rule(
    id="WP101",
    priority=90,
    title="inputs not centred or scaled",
    claim="The inputs are centred and of the size that initial weights are made for.",
    judged=(
        "Size: the root mean square over all features, which initial weights expect near 1. Beyond a factor of "
        "10 it fails (100 in variance: activations saturate, or the biases drown the signal); beyond 5 it is suspect. "
        "Centring, free of the unit: |mean|^2 over the largest eigenvalue of the covariance, the factor by which "
        "the mean worsens the condition of the first layer. Beyond 300 it fails, beyond 30 it is suspect."
    ),
    causes=(
        Cause(
            "scale", "The numbers are far from size 1, as raw pixels, counts or prices are.", remedies=(_STANDARDIZE,)
        ),
        Cause(
            "offset",
            "The mean is far larger than the spread: every example looks almost the same to the first layer.",
            remedies=(_STANDARDIZE,),
        ),
    ),
    references=(_LECUN,),
)

UNEQUAL = Rule(
    id="WP102",
    priority=100,
    title="feature scales differ widely",
    claim="The features are of comparable size.",
    judged=(
        "The size of a feature is the smaller of two ratios to the median feature: of standard deviations and of half"
        " ranges, so that a rarely active feature does not count as a small unit. A feature 100 times larger, or 1,000"
        " times smaller, than the median fails; 10 times larger, or 100 times smaller, is suspect."
    ),
    causes=(
        Cause(
            "units",
            "Features were measured in different units: the largest one decides the learning rate, the others hardly"
            " move.",
            remedies=(_STANDARDIZE,),
        ),
    ),
    references=(_LECUN,),
)

CONSTANT = Rule(
    id="WP103",
    priority=110,
    title="constant feature",
    claim="Every feature varies.",
    judged=(
        "A feature is constant when its smallest and largest value are the same number. Some constant features are"
        " suspect (they carry nothing, and dividing by their standard deviation gives NaN); inputs in which every"
        " feature is constant fail."
    ),
    causes=(
        Cause(
            "constant",
            "The feature has one value in all rows seen: a dead sensor, a border pixel, or a column filled in wrongly.",
            remedies=(Remedy("Drop the feature, or let wp.Standardizer leave it at zero"),),
        ),
        Cause(
            "all-constant",
            "All rows are the same: the data were overwritten, broadcast or read from one place.",
            remedies=(Remedy("Print two different rows of the batch and look where they become equal"),),
        ),
    ),
)

NOT_FINITE = Rule(
    id="WP104",
    priority=10,
    title="NaN or infinity in the data",
    claim="All numbers in the data are finite.",
    judged="One NaN or infinity fails: it reaches every weight in the first backward pass.",
    causes=(
        Cause(
            "nan",
            "Missing values were read as NaN, or a constant feature was divided by its standard deviation of zero.",
            remedies=(Remedy("Impute or drop the rows", "x = x[np.isfinite(x).all(axis=1)]"),),
        ),
        Cause(
            "infinity",
            "A logarithm of zero, a division by zero, or a number too large for the dtype.",
            remedies=(Remedy("Find the first infinite entry", "np.argwhere(np.isinf(x))[0]"),),
        ),
    ),
)

_FIT_AGAIN = Remedy(
    "Take the statistics from this training set, and from nothing else",
    "standardizer = wp.Standardizer().fit(x_train)\nstandardizer.save('stats.json')",
)

NOT_THEIRS = Rule(
    id="WP105",
    priority=80,
    title="statistics do not belong to the data",
    claim="The statistics given are those of this data, as far as its size can tell.",
    judged=(
        "Each mean and standard deviation given is held against the data's own. It agrees within 5 standard errors of"
        " what the data can tell (the unit of sampling is an entry of axis 0), or within half a unit of the last digit"
        " in which it is written. Where they do not agree, the mistakes that people make are tried, and one is named"
        " only if it explains all numbers closely, and much better than none. Rare large values, that a sample may meet"
        " or miss, excuse a deviation. Without an explanation a mean off by more than a standard deviation fails, and a"
        " variance off by more than a factor of 4 where the state behind it is known; more than a twentieth of a"
        " standard deviation, or of the scale, is suspect; less does no harm. Whether rows of a held-out set were seen"
        " is told by a fingerprint of the rows."
    ),
    causes=(
        Cause(
            "pixel-range",
            "The pixels run from 0 to 255 on one side and from 0 to 1 on the other.",
            remedies=(Remedy("Divide by 255 in both places, or in neither", "x = x / 255"),),
        ),
        Cause(
            "mean-of-stds",
            "The standard deviation is the mean of those of single images or groups: it leaves out how they differ "
            "(ImageNet's .229, .224, .225 are probably such).",
            remedies=(_FIT_AGAIN,),
        ),
        Cause(
            "channel-order",
            "The channels are in the other order: BGR against RGB.",
            remedies=(Remedy("Bring data and statistics into one order", "x = x[..., ::-1]"),),
        ),
        Cause(
            "ddof",
            "The variance was divided by n - 1 where n was meant, or the other way round.",
            remedies=(_FIT_AGAIN,),
        ),
        Cause(
            "variance-for-std",
            "The variance stands where the standard deviation belongs.",
            remedies=(Remedy("Take its square root", "std = np.sqrt(var)"),),
        ),
        Cause("another-data-set", "They are the published constants of another data set.", remedies=(_FIT_AGAIN,)),
        Cause(
            "already-standardized",
            "The data is standardized already: it would be done twice.",
            remedies=(Remedy("Standardize once, as late as possible"),),
        ),
        Cause(
            "saw-test-set",
            "The statistics were fitted on rows of the set that was held out: what is measured on it is too good.",
            confirm="Refit on the training rows alone and compare the score.",
            remedies=(_FIT_AGAIN,),
        ),
        Cause(
            "columns",
            "The columns are others, or stand in another order.",
            remedies=(
                Remedy("Select them by name, in the order of the fit", "frame[list(standardizer.feature_names_in_)]"),
            ),
        ),
        Cause(
            "drift",
            "The data has moved away from what the statistics were fitted on.",
            remedies=(Remedy("Find out what changed in the feature named: its unit, its source, or the world", ""),),
        ),
        Cause(
            "missing-values",
            "Far more, or far fewer, values are missing than before.",
            remedies=(Remedy("Look where the feature comes from"),),
        ),
    ),
    references=("torchvision issue 1965 (how ImageNet's constants came about)",),
)

RULES = (NOT_STANDARD, UNEQUAL, CONSTANT, NOT_FINITE, NOT_THEIRS)
