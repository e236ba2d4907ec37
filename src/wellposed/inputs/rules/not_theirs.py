"""WP105: statistics do not belong to the data."""

from __future__ import annotations

from wellposed.findings import Remedy
from wellposed.rule import Cause, Rule

_FIT_AGAIN = Remedy(
    "Take the statistics from this training set, and from nothing else",
    "standardizer = wp.Standardizer().fit(x_train)\nstandardizer.save('stats.json')",
)

NOT_THEIRS = Rule(
    id="WP105",
    subject="inputs",
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
