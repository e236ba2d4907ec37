"""Do these statistics belong to this data, and if not, which mistake was made? WP105."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from wellposed.errors import InputError
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.inputs.early import Errors, Sample
from wellposed.inputs.features import features_of
from wellposed.inputs.fingerprint import Fingerprint
from wellposed.inputs.fit import checked, state_of_chunk
from wellposed.inputs.sources import Source
from wellposed.inputs.standardizer import Standardizer
from wellposed.inputs.state import State
from wellposed.numerics.arrays import Array, Vector
from wellposed.rules.inputs import NOT_THEIRS

_ERRORS = 5.0  # standard errors within which numbers agree
_SAMPLED = 20_000  # units from which standard errors are estimated
_SEEN = 0.5  # of the rows asked for: a fingerprint that knows so many has seen the set
_MEAN_FAILS, _SCALE_FAILS = 1.0, 2.0
_HARMLESS = 0.05  # of the standard deviation
_MISSING = 0.1  # change of the share of missing values

# Constants that are copied from one project to the next: mean, standard deviation.
_PUBLISHED = {
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "CIFAR-10 (mean of per-image deviations)": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "CIFAR-100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "CLIP": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "MNIST": ((0.1307,), (0.3081,)),
}


@dataclass(frozen=True)
class Given:
    """Statistics as they were given: mean and standard deviation [D], and the state they come from where it is known."""

    mean: Vector
    std: Vector
    state: State | None = None

    @staticmethod
    def of(statistics: Any) -> Given:
        """A fitted Standardizer, or a pair (mean, std). Raises `InputError` for anything else."""
        if isinstance(statistics, Standardizer):
            statistics._require_fitted()
            return Given(statistics.mean_, np.where(statistics.var_ > 0, statistics.scale_, 0.0), statistics.state_)
        try:
            mean, std = (np.atleast_1d(np.asarray(part, dtype=np.float64)).ravel() for part in statistics)
        except (TypeError, ValueError) as error:
            raise InputError("statistics are a fitted Standardizer, or a pair (mean, std)") from error
        if mean.shape != std.shape or not (np.isfinite(mean).all() and np.isfinite(std).all() and (std >= 0).all()):
            raise InputError(f"mean has {mean.size} entries and std {std.size}; both must be finite, no std negative")
        return Given(mean, std)


@dataclass(frozen=True)
class _Data:
    state: State
    errors: Errors
    mean_of_stds: Vector  # of the entries of axis 0; NaN where they are single numbers


def audited(statistics: Any, source: Source, axis: int | tuple[int, ...] | None = None, *, held_out: bool = False) -> list[Finding]:
    """WP105 for statistics and the data of a source, read once; `held_out` where they must not have seen it."""
    given = Given.of(statistics)
    data = _measured(source, axis, given.mean.size)
    if held_out and given.state is not None:
        found = _seen(given.state.fingerprint, source)
        if found is not None:
            return [found]
    return [_judged(given, data)]


def _measured(source: Source, axis: int | tuple[int, ...] | None, d: int) -> _Data:
    total: State | None = None
    sample, stds, groups = Sample(), np.zeros(d), 0
    for chunk in checked(source):
        found = state_of_chunk(chunk, axis)
        if len(found.moments) != d:
            raise InputError(f"the data has {len(found.moments)} features, but the statistics are of {d}")
        total = found if total is None else total + found
        if sample.units < _SAMPLED:
            sample.add(chunk.rows, axis)
        features = features_of(chunk.rows, axis)
        if features.array.ndim > 1 + len(features.axes):
            stds += _stds(features.array, features.axes).sum(axis=0)
            groups += len(chunk.rows)
    if total is None:
        raise InputError("the data is empty")
    seen = sample.errors()
    less = np.sqrt(sample.units / max(total.fingerprint.rows, 1))
    return _Data(total, Errors(seen.mean * less, seen.std * less), stds / groups if groups else np.full(d, np.nan))


def _stds(array: Array, axes: tuple[int, ...]) -> Vector:
    """[N, D]: of each entry of axis 0."""
    inside = tuple(axis for axis in range(1, array.ndim) if axis not in axes)
    return np.asarray(array.astype(np.float64).std(axis=inside)).reshape(len(array), -1)


def _seen(fingerprint: Fingerprint, source: Source) -> Finding | None:
    asked = met = 0
    for chunk in source.chunks():
        a, m = fingerprint.seen(np.asarray(chunk.rows))
        asked, met = asked + a, met + m
    if not asked or met < _SEEN * asked:
        return None
    text = f"The statistics have seen this set, which was held out: of {asked} rows that their fingerprint would have kept, it holds {met}."
    evidence = (Evidence("rows recognised", met, "inputs", unit=f"of {asked}", reference="0"),)
    return NOT_THEIRS.found(Verdict.FAILS, text, where="inputs", cause="saw-test-set", evidence=evidence)


def _judged(given: Given, data: _Data) -> Finding:
    moments = data.state.moments
    mean, std = moments.mean, moments.std
    j = int(np.argmax(_apart(given, mean, std)))
    where = data.state.where(j)
    evidence = (
        Evidence("mean given", float(given.mean[j]), where),
        Evidence("mean of the data", float(mean[j]), where, error=_error(data.errors.mean[j])),
        Evidence("standard deviation given", float(given.std[j]), where),
        Evidence("standard deviation of the data", float(std[j]), where, error=_error(data.errors.std[j])),
    )
    missing = _missing(given, data)
    if missing is not None:
        return missing
    if _agrees(given, data, mean, std):
        n = float(moments.count.min())
        if given.state is None and _nearly(given.std, std * np.sqrt(n / (n - 1))) and not _nearly(given.std, std):
            text = f"The standard deviation was computed with n - 1 = {n - 1:.0f}; deep learning and scikit-learn divide by n."
            return NOT_THEIRS.found(Verdict.SUSPECT, text, where=where, cause="ddof", evidence=evidence)
        return NOT_THEIRS.holds(evidence)
    for cause, text, mean_then, std_then in _mistakes(given, data):
        if _agrees(given, data, mean_then, std_then):
            return NOT_THEIRS.found(Verdict.FAILS, text, where="inputs", cause=cause, evidence=evidence)
    if _harmless(given, mean, std) or _by_rare_events(given, data):
        return NOT_THEIRS.holds(evidence)
    width = np.where(std > 0, std, np.maximum(given.std, np.abs(given.mean) + np.abs(mean)))
    off = float(np.abs(given.mean - mean)[j] / width[j]) if width[j] else 0.0
    ratio = float(given.std[j] / std[j]) if std[j] > 0 else np.inf if given.std[j] > 0 else 1.0
    fails = off > _MEAN_FAILS or not 1 / _SCALE_FAILS < ratio < _SCALE_FAILS
    text = (
        f"At `{where}` the data's mean is {off:.3g} standard deviations away from the one given, and the variance given is "
        f"{ratio**2:.3g} times the data's."
    )
    if (
        std[j] > 0
        and mean[j]
        and np.isclose(given.mean[j] / mean[j], ratio, rtol=_HARMLESS)
        and not np.isclose(ratio, 1, rtol=2 * _HARMLESS)
    ):
        text += f" It is as if its unit had changed: mean and deviation given are both about {ratio:.3g} times the data's."
    return NOT_THEIRS.found(Verdict.FAILS if fails else Verdict.SUSPECT, text, where=where, cause="drift", evidence=evidence)


def _mistakes(given: Given, data: _Data) -> Iterator[tuple[str, str, Vector, Vector]]:
    """(cause, words, mean, std): what would have been given, had that mistake been made."""
    mean, std, stds = data.state.moments.mean, data.state.moments.std, data.mean_of_stds
    yield "pixel-range", "The statistics are of data divided by 255; this data is not divided.", mean / 255, std / 255
    yield "pixel-range", "The statistics are of data from 0 to 255; this data is divided by 255.", mean * 255, std * 255
    yield "mean-of-stds", "The standard deviation given is the mean of those of single entries.", mean, stds
    yield "mean-of-stds", "The standard deviation given is the mean of those of single entries, divided by 255.", mean / 255, stds / 255
    if 2 <= mean.size <= 4:
        yield "channel-order", "The statistics fit with the channels in the other order.", mean[::-1], std[::-1]
        yield "channel-order", "With the channels in the other order and divided by 255 they fit.", mean[::-1] / 255, std[::-1] / 255
    yield "variance-for-std", "The variance of the data was given for the standard deviation.", mean, std**2
    if np.all(np.abs(mean) < 0.1) and np.all(np.abs(std[std > 0] - 1) < 0.1) and (std > 0).any():
        yield "already-standardized", "The data has mean 0 and standard deviation 1 already.", given.mean, given.std
    for name, (known_mean, known_std) in _PUBLISHED.items():
        for factor in (1.0, 255.0):
            published = np.array(known_mean) * factor, np.array(known_std) * factor
            if published[0].size == mean.size and all(
                np.allclose(a, b, rtol=2e-3) for a, b in zip(published, (given.mean, given.std), strict=True)
            ):
                yield "another-data-set", f"The statistics are those published for {name}.", given.mean, given.std


def _agrees(given: Given, data: _Data, mean: Vector, std: Vector) -> bool:
    """Whether these numbers are those given, as far as sampling and the digits given can tell."""
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        return False
    own = data.state.moments.std
    scale = np.divide(std, own, out=np.ones_like(std), where=own > 0)
    of_mean, of_std = (_ERRORS * np.nan_to_num(error) * scale for error in (data.errors.mean, data.errors.std))
    # Those given come from a sample too, of the same size where nothing else is known.
    rows = data.state.fingerprint.rows if given.state is None else max(given.state.fingerprint.rows, 1)
    more = np.sqrt(1 + data.state.fingerprint.rows / rows)
    of_mean, of_std = of_mean * more, of_std * more
    close = np.abs(given.mean - mean) <= np.maximum(of_mean, _written(given.mean)) + 1e-9 * np.abs(mean)
    return bool(close.all() and (np.abs(given.std - std) <= np.maximum(of_std, _written(given.std)) + 1e-9 * std).all())


def _harmless(given: Given, mean: Vector, std: Vector) -> bool:
    """Whether a difference, be it more than chance, changes nothing that a network would notice."""
    near = np.abs(given.mean - mean) <= _HARMLESS * std
    return bool((near & (np.abs(given.std - std) <= _HARMLESS * std)).all())


def _by_rare_events(given: Given, data: _Data) -> bool:
    """Whether rare large values, that a sample may miss or meet, could explain each difference.

    A fourth power of a deviation is at most range^2 times its square, so the kurtosis is at most range^2 / variance: that bounds the
    standard error of a standard deviation, about which few rows then tell little.
    """
    moments, rows = data.state.moments, max(data.state.fingerprint.rows, 1)
    known = [moments] if given.state is None else [moments, given.state.moments]
    reach = np.fmax.reduce([m.max for m in known]) - np.fmin.reduce([m.min for m in known])
    std = np.maximum(given.std, moments.std)
    with np.errstate(all="ignore"):
        of_std = _ERRORS * np.nan_to_num(std * np.sqrt((reach / std) ** 2 / (4 * rows)))
    near = np.abs(given.mean - moments.mean) <= np.maximum(_ERRORS * std / np.sqrt(rows), _HARMLESS * std)
    return bool((near & (np.abs(given.std - moments.std) <= np.maximum(of_std, _HARMLESS * std))).all())


def _written(values: Vector) -> Vector:
    """Half a unit of the last decimal, where a number has at most 6 of them."""
    places = [len(f"{value:.12g}".partition(".")[2]) for value in values]
    widest = max(places, default=12)  # zeros at the end are not written
    return (
        np.full(values.size, 0.5 * 10.0**-widest)
        if widest <= 6 and "e" not in "".join(f"{v:.12g}" for v in values)
        else np.zeros(values.size)
    )


def _apart(given: Given, mean: Vector, std: Vector) -> Vector:
    width = np.maximum(np.maximum(std, given.std), np.finfo(float).tiny)
    return np.nan_to_num(np.abs(given.mean - mean) / width + np.abs(given.std - std) / width)


def _nearly(one: Vector, two: Vector) -> bool:
    return bool(np.allclose(one, two, rtol=1e-9, atol=0))


def _missing(given: Given, data: _Data) -> Finding | None:
    if given.state is None:
        return None
    shares = [moments.nan_count / np.maximum(moments.nan_count + moments.count, 1) for moments in (given.state.moments, data.state.moments)]
    j = int(np.argmax(np.abs(shares[1] - shares[0])))
    before, now = float(shares[0][j]), float(shares[1][j])
    if abs(now - before) <= _MISSING:
        return None
    where = data.state.where(j)
    text = f"At `{where}` {100 * now:.3g} % of the values are missing; of the data behind the statistics {100 * before:.3g} % were."
    evidence = (Evidence("share of missing values", now, where, reference=f"{before:.3g}"),)
    return NOT_THEIRS.found(Verdict.SUSPECT, text, where=where, cause="missing-values", evidence=evidence)


def _error(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
