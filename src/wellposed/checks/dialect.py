"""Remedies are written in the names of PyTorch; for a framework that has others they are put so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wellposed.findings import Finding

_IN_JAX = {
    "wp.initialize(model, batch)": "params = wp.initialize(params, lambda params: apply(params, x)).params",
    "loss = cross_entropy(scores, targets)": (
        "loss = optax.softmax_cross_entropy_with_integer_labels(scores, targets).mean()"
    ),
    "loss = binary_cross_entropy_with_logits(scores, targets)": (
        "loss = optax.sigmoid_binary_cross_entropy(scores, targets).mean()"
    ),
}


def in_words_of(backend: str, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    if backend != "jax":
        return tuple(findings)
    return tuple(
        replace(
            finding,
            remedies=tuple(replace(one, code=_IN_JAX.get(one.code, one.code)) for one in finding.remedies),
        )
        for finding in findings
    )
