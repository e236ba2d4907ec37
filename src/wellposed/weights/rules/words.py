"""Words that rules on weights share: references."""

from __future__ import annotations

HE = "He, Zhang, Ren, Sun 2015, arXiv 1502.01852"
GLOROT = "Glorot & Bengio 2010, proceedings.mlr.press/v9/glorot10a"
