"""WP302: units of a layer that no step of training separates, and layers that are copies of each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from wellposed.backends.measured import Run
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.numerics.arrays import Vector
from wellposed.numerics.theta import Gradient, missing
from wellposed.numerics.weight import Weight, per_unit, repeated_rows
from wellposed.rule import Cause, Rule
from wellposed.signals.site import Site
from wellposed.signals.trace import Trace

_FEWEST_TO_COMPARE, _COSINE = 8, 0.5

AfterAStep = Callable[[], tuple[Mapping[str, Weight], Gradient]]


SYMMETRIC = Rule(
    id="WP302",
    subject="weights",
    priority=120,
    title="symmetric or constant weights",
    claim=(
        "Units of the same layer differ, in their weights or in their gradients, so that training can tell them apart."
    ),
    judged=(
        "Two hidden units are twins when their incoming weights and biases are the same numbers and so are the"
        " gradients of these, here and after one small step: then no step of training ever separates them. A layer all"
        " of whose units have a twin fails, one with some twins is suspect. Dead or deliberate zeros whose gradients"
        " differ hold. Suspect are also units that training would part but that start alike: half of a layer's with"
        f" the weights of another unit, rows of a mean cosine above {_COSINE:g} (a common mean far from 0), and"
        " residual branches with the same weights; layers with the same weights one after another are a note, as they"
        " were not seen to cost anything."
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
    needs=("loss", "gradient", "layers"),
    judge=lambda measured: check_symmetry(
        measured.trace, measured.run, measured.weights, measured.weights_after_a_step
    ),
    treatment="initialize",
)


def check_symmetry(trace: Trace, run: Run, weights: Mapping[str, Weight], after_a_step: AfterAStep) -> Finding:
    """Of hidden layers: units that are twins, else a layer that is all zeros, or recurrent matrices of one number."""
    found = _symmetric(trace, run, weights, after_a_step)
    return found if found.verdict is Verdict.FAILS else _constant(trace, weights, after_a_step) or found


def _constant(trace: Trace, weights: Mapping[str, Weight], after_a_step: AfterAStep) -> Finding | None:
    for site in trace.trunk:
        use = site.layer.weight
        hidden = not site.is_output and not site.normalised and site.follower in ("activation", "linear", "conv")
        zero = use is not None and hidden and use.name in weights and not weights[use.name].any
        # What a step wakes up while the batch goes another way too, as in a coupling, costs nothing.
        beside = any(operation.reads_batch for operation in trace.operations[site.index + 1 :])
        if use is not None and zero and not (beside and _wakes(use.name, use.unit_axis, after_a_step)):
            text = (
                f"All weights of `{site.name}` are zero, and every signal passes it: at first whatever comes in, the"
                " same goes out."
            )
            evidence = (Evidence("largest entry", 0.0, use.name),)
            return SYMMETRIC.found(Verdict.SUSPECT, text, where=use.name, cause="constant", evidence=evidence)
    recurrent = {site.name for site in trace.sites if site.layer.kind == "recurrent" and site.layer.weight is None}
    for name in [name for name in weights if name.rpartition(".")[0] in recurrent]:
        weight = weights[name]
        if weight.ndim == 2 and min(weight.shape) > 1 and weight.any and weight.constant is not None:
            text = f"Every entry of `{name}` is {weight.constant:.6g}: its units are alike."
            evidence = (Evidence("spread of the entries", 0.0, name),)
            return SYMMETRIC.found(Verdict.FAILS, text, where=name, cause="constant", evidence=evidence)
    return None


def _wakes(name: str, axis: int, after_a_step: AfterAStep) -> bool:
    """Whether one step makes the units of a layer that is all zeros different from each other."""
    weight = after_a_step()[0][name]
    return weight.any and weight.repeated(axis) < weight.shape[axis]


def _symmetric(trace: Trace, run: Run, weights: Mapping[str, Weight], after_a_step: AfterAStep) -> Finding:
    suspects = [site for site in trace.hidden if _twins(site, weights, run.gradient) > 0]
    if suspects:
        later_weights, later_gradient = after_a_step()
        suspects = [site for site in suspects if _twins(site, later_weights, later_gradient) > 0]
    if not suspects:
        seen = [site for site in trace.hidden if site.layer.weight is not None and site.layer.weight.name in weights]
        if not seen:
            return SYMMETRIC.not_applicable("No hidden layer's weights were seen at work.")
        return _alike(seen, weights) or _copies(trace, seen, weights) or SYMMETRIC.holds()
    site = max(suspects, key=lambda s: _twins(s, weights, run.gradient) / _units(s, weights))
    use = site.layer.weight
    assert use is not None
    twins, units = _twins(site, weights, run.gradient), _units(site, weights)
    constant = weights[use.name].constant
    evidence = (Evidence("units with a twin", twins, use.name, unit=f"of {units}", reference="0"),)
    verdict = Verdict.FAILS if twins == units else Verdict.SUSPECT
    text = (
        f"{twins} of the {units} units of `{site.name}` have the same weights and the same gradients as another: "
        "no step of training will separate them."
    )
    if constant is not None:
        text += f" Every entry of `{use.name}` is {constant:.6g}."
    cause = "cloned" if constant is None else "constant"
    return SYMMETRIC.found(verdict, text, where=use.name, cause=cause, evidence=evidence)


def _units(site: Site, weights: Mapping[str, Weight]) -> int:
    assert site.layer.weight is not None
    return int(weights[site.layer.weight.name].shape[site.layer.weight.unit_axis])


def _twins(site: Site, weights: Mapping[str, Weight], gradient: Gradient) -> int:
    """How many units share weights, bias and their gradients with another unit."""
    use = site.layer.weight
    if use is None or use.name not in weights or use.name in missing(gradient):
        return 0
    if not weights[use.name].repeated(use.unit_axis):
        return 0
    slope, units = gradient[use.name], per_unit(weights[use.name].numbers, use.unit_axis)
    assert slope is not None
    slopes = per_unit(slope, use.unit_axis)
    idle = ~slopes.any(axis=1)
    rows = [units, _rounded(slopes)]
    if use.bias in weights and weights[use.bias].size == rows[0].shape[0]:
        bias_slope = gradient.get(use.bias)
        rows.append(weights[use.bias].numbers.reshape(-1, 1))
        if bias_slope is not None:
            rows.append(_rounded(bias_slope.reshape(-1, 1)))
    joined = np.concatenate(rows, axis=1)
    # Units without a gradient on this batch, behind others that are dead, tell nothing: they part where one comes.
    return repeated_rows(joined if idle.all() else joined[~idle])


def _rounded(slope: Vector) -> Vector:
    """Sums in another order differ in the last digits; twins' gradients agree to five."""
    size = float(np.abs(slope).max())
    return np.round(slope / size, 5) + 0.0 if size > 0 else slope


def _alike(sites: list[Site], weights: Mapping[str, Weight]) -> Finding | None:
    """A layer whose units start alike, although their gradients differ."""
    for site in sites:
        use = site.layer.weight
        assert use is not None
        weight = weights[use.name]
        units = weight.shape[use.unit_axis]
        fan = weight.size // max(units, 1)
        if units < _FEWEST_TO_COMPARE or fan < _FEWEST_TO_COMPARE or not weight.any:
            continue
        twins, cosine = weight.repeated(use.unit_axis), weight.mean_cosine(use.unit_axis)
        if cosine > _COSINE:
            text = (
                f"The units of `{site.name}` start alike: the mean cosine between the weights of two of them is"
                f" {cosine:.2g}."
            )
            evidence = (
                Evidence("mean cosine of two units' weights", cosine, use.name, reference=f"below {_COSINE:g}"),
            )
            return SYMMETRIC.found(Verdict.SUSPECT, text, where=use.name, cause="alike", evidence=evidence)
        if twins >= units / 2:
            text = (
                f"{twins} of the {units} units of `{site.name}` start with the same weights as another; only their"
                " gradients differ."
            )
            evidence = (Evidence("units with a twin", twins, use.name, unit=f"of {units}", reference="0"),)
            return SYMMETRIC.found(Verdict.SUSPECT, text, where=use.name, cause="cloned", evidence=evidence)
    return None


def _copies(trace: Trace, sites: list[Site], weights: Mapping[str, Weight]) -> Finding | None:
    """Two layers that start with the same weights: one after another they were seen to cost nothing, in residual
    branches they add up to less than branches of their own (`make bench-trainability`).
    """
    passed = {site.index for site in trace.trunk}
    first: dict[bytes, tuple[Site, str]] = {}
    pairs = []
    for site in sites:
        use = site.layer.weight
        assert use is not None
        weight = weights[use.name]
        if weight.size < _FEWEST_TO_COMPARE * _FEWEST_TO_COMPARE or weight.patterned:
            continue
        earlier, name = first.setdefault(weight.digest, (site, use.name))
        if name != use.name:
            pairs.append((earlier, site, name))
    if not pairs:
        return None
    one, other, name = pairs[0]
    more = f" ({len(pairs)} layers repeat another's)" if len(pairs) > 1 else ""
    text = (
        f"`{one.name}` and `{other.name}` start with the same weights{more}: they were copied, and begin as the same"
        " map."
    )
    beside = any(site.index not in passed for pair in pairs for site in pair[:2])
    verdict = Verdict.SUSPECT if beside else Verdict.HOLDS
    return SYMMETRIC.found(
        verdict, text, where=name, cause="copied-layers", evidence=(Evidence("copies", len(pairs), name),)
    )
