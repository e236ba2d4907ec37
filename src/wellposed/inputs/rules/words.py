"""Words that rules on inputs share."""

from __future__ import annotations

from wellposed.findings import Remedy

STANDARDIZE = Remedy(
    "Subtract each feature's mean and divide by its standard deviation, with the training set's numbers everywhere",
    "standardizer = wp.Standardizer().fit(x_train)\nx = standardizer.transform(x)",
)
LECUN = "LeCun, Bottou, Orr, Müller: Efficient BackProp, 1998, section 4.3"
