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
from wellposed.inputs.fit import check_chunks, state_of_chunk
from wellposed.inputs.rules.not_theirs import NOT_THEIRS
from wellposed.inputs.sources import Source
from wellposed.inputs.standardizer import Standardizer
from wellposed.inputs.state import State
from wellposed.numerics.arrays import Array, Vector

_CHANNELS = (2, 3, 4)  # of images, whose order is told
_NEAR_STANDARD = 0.1  # of a mean of 0 and a deviation of 1
_DECIMALS = 6

_ERRORS = 5.0  # standard errors within which numbers agree
_SAMPLED = 20_000  # units from which standard errors are estimated
_TIGHT = (0.02, 0.1)  # misfit that a mistake may leave: by the data's size between these
_EXACT = 0.005
_BETTER = 5.0
_FEWEST_RECOGNISED = 8  # rows recognised below which nothing is proven
_SHARE_RECOGNISED = 0.5  # of the rows asked for: a fingerprint that knows so many has seen the set
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
    """Statistics as they were given: mean and standard deviation [D], and the state they come from where it is
    known.
    """

    mean: Vector
    std: Vector
    state: State | None = None

    @staticmethod
    def of(statistics: Any) -> Given:
        """A fitted Standardizer, or a pair (mean, std). Raises `InputError` for anything else."""
        if isinstance(statistics, Standardizer):
            statistics._require_fitted()
            moments = statistics.state_.moments  # of a robust one too: means are held against means
            return Given(moments.mean, moments.deviation(statistics.ddof), statistics.state_)
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
    asked: int  # rows that the fingerprint of the statistics would have kept
    met: int  # of these, rows that it knows


@np.errstate(
    over="ignore", under="ignore", invalid="ignore", divide="ignore"
)  # comparisons with infinity come out right
def audit_statistics(
    statistics: Any, source: Source, axis: int | tuple[int, ...] | None = None, *, held_out: bool = False
) -> list[Finding]:
    """WP105 for statistics and the data of a source, read once; `held_out` where they must not have seen it."""
    given = Given.of(statistics)
    if axis is None and isinstance(statistics, Standardizer):
        axis = statistics.axis
    data = _measured(source, axis, given)
    if held_out and data.asked >= _FEWEST_RECOGNISED and data.met >= _SHARE_RECOGNISED * data.asked:
        return [_saw(data)]
    if data.state.fingerprint.rows < 2:
        return [NOT_THEIRS.undecided("One row says nothing about a mean or a deviation.")]
    return [_renamed(given, data) or _judged(given, data)]


def _measured(source: Source, axis: int | tuple[int, ...] | None, given: Given) -> _Data:
    total: State | None = None
    sample, stds, groups, asked, met = Sample(), np.zeros(given.mean.size), 0, 0, 0
    for chunk in check_chunks(source, axis):
        found = state_of_chunk(chunk, axis)
        if len(found.moments) != given.mean.size:
            raise InputError(f"the data has {len(found.moments)} features, but the statistics are of {given.mean.size}")
        total = found if total is None else total + found
        if sample.units < _SAMPLED:
            sample.add(chunk.rows, axis)
        features = features_of(chunk.rows, axis)
        if features.array.ndim > 1 + len(features.axes):
            stds += _stds(features.array, features.axes).sum(axis=0)
            groups += len(chunk.rows)
        if given.state is not None:
            would, did = given.state.fingerprint.seen(features.array)
            asked, met = asked + would, met + did
    if total is None:
        raise InputError("the data is empty")
    seen = sample.errors()
    less = np.sqrt(sample.units / max(total.fingerprint.rows, 1))
    errors = Errors(seen.mean * less, seen.std * less)
    return _Data(total, errors, stds / groups if groups else np.full(given.mean.size, np.nan), asked, met)


def _stds(array: Array, axes: tuple[int, ...]) -> Vector:
    """[N, D]: of each entry of axis 0."""
    inside = tuple(axis for axis in range(1, array.ndim) if axis not in axes)
    return np.asarray(array.astype(np.float64).std(axis=inside)).reshape(len(array), -1)


def _saw(data: _Data) -> Finding:
    text = (
        f"The statistics have seen this set, which was held out: of {data.asked} rows that their fingerprint would have"
        f" kept, it holds {data.met}."
    )
    evidence = (Evidence("rows recognised", data.met, "inputs", unit=f"of {data.asked}", reference="0"),)
    return NOT_THEIRS.found(Verdict.FAILS, text, where="inputs", cause="saw-test-set", evidence=evidence)


def _renamed(given: Given, data: _Data) -> Finding | None:
    """Where both are of named columns, and these are not the same."""
    mine, its = data.state.names, () if given.state is None else given.state.names
    if not mine or not its or mine == its:
        return None
    j = next(k for k, (one, two) in enumerate(zip(mine, its, strict=True)) if one != two)
    text = f"Column {j} is `{mine[j]}`, but the statistics there are of `{its[j]}`."
    if sorted(mine) == sorted(its):
        text += " The columns are the same, in another order."
    return NOT_THEIRS.found(Verdict.FAILS, text, where=f"inputs[{mine[j]!r}]", cause="columns")


def _beside(what: str, given: float, measured: float, where: str, error: float) -> Evidence:
    return Evidence(f"{what} of the data", float(measured), where, "", f"{given:.6g}, as given", _error(error))


def _judged(given: Given, data: _Data) -> Finding:
    moments = data.state.moments
    mean, std = moments.mean, moments.std
    j = int(np.argmax(_apart(given, mean, std)))
    where = data.state.where(j)
    evidence = (
        _beside("mean", given.mean[j], mean[j], where, data.errors.mean[j]),
        _beside("standard deviation", given.std[j], std[j], where, data.errors.std[j]),
    )
    missing = _missing(given, data)
    if missing is not None:
        return missing
    if _agrees(given, data):
        n = float(moments.count.min())
        if given.state is None and _nearly(given.std, std * np.sqrt(n / (n - 1))) and not _nearly(given.std, std):
            text = (
                f"The standard deviation was computed with n - 1 = {n - 1:.0f}; deep learning and scikit-learn divide"
                " by n."
            )
            return NOT_THEIRS.found(Verdict.SUSPECT, text, where=where, cause="ddof", evidence=evidence)
        return NOT_THEIRS.holds(evidence)
    off, excused = _misfit(given, mean, std, std), _by_rare_events(given, data)
    for cause, text, mean_then, std_then in _mistakes(given, data):
        # A mistake has to fit closely, and much better than no mistake does; all the more where chance may be the
        # reason.
        tolerance = _EXACT if excused else float(np.clip(_ERRORS * _relative(data), *_TIGHT))
        misfit = _misfit(given, mean_then, std_then, std_then)
        if misfit <= tolerance and off > _BETTER * max(misfit, _TIGHT[0]):
            return NOT_THEIRS.found(Verdict.FAILS, text, where="inputs", cause=cause, evidence=evidence)
    if excused or _harmless(given, mean, std):
        return NOT_THEIRS.holds(evidence)
    width = np.maximum(std, given.std)
    width = np.where(width > 0, width, np.abs(given.mean) + np.abs(mean))
    off = float(np.abs(given.mean - mean)[j] / width[j]) if width[j] else 0.0
    ratio = float(given.std[j] / std[j]) if std[j] > 0 else np.inf if given.std[j] > 0 else 1.0
    # Of bare constants nobody knows how heavy the tails were behind them: then only a mean can fail.
    fails = off > max(_MEAN_FAILS, _ERRORS / np.sqrt(_rows(data)[j])) or (
        given.state is not None and not 1 / _SCALE_FAILS < ratio < _SCALE_FAILS
    )
    text = (
        f"At `{where}` the data's mean is {off:.3g} standard deviations away from the one given, and the variance given"
        f" is {np.square(ratio):.3g} times the data's."
    )
    if (
        std[j] > 0
        and mean[j]
        and np.isclose(given.mean[j] / mean[j], ratio, rtol=_HARMLESS)
        and not np.isclose(ratio, 1, rtol=2 * _HARMLESS)
    ):
        text += (
            f" It is as if its unit had changed: mean and deviation given are both about {ratio:.3g} times the data's."
        )
    return NOT_THEIRS.found(
        Verdict.FAILS if fails else Verdict.SUSPECT, text, where=where, cause="drift", evidence=evidence
    )


def _mistakes(given: Given, data: _Data) -> Iterator[tuple[str, str, Vector, Vector]]:
    """(cause, words, mean, std): what would have been given, had that mistake been made."""
    mean, std, stds = data.state.moments.mean, data.state.moments.std, data.mean_of_stds
    yield "pixel-range", "The statistics are of data divided by 255; this data is not divided.", mean / 255, std / 255
    yield "pixel-range", "The statistics are of data from 0 to 255; this data is divided by 255.", mean * 255, std * 255
    yield "mean-of-stds", "The standard deviation given is the mean of those of single entries.", mean, stds
    yield (
        "mean-of-stds",
        "The standard deviation given is the mean of those of single entries, divided by 255.",
        mean / 255,
        stds / 255,
    )
    if mean.size in _CHANNELS:
        yield "channel-order", "The statistics fit with the channels in the other order.", mean[::-1], std[::-1]
        yield (
            "channel-order",
            "With the channels in the other order and divided by 255 they fit.",
            mean[::-1] / 255,
            std[::-1] / 255,
        )
    yield "variance-for-std", "The variance of the data was given for the standard deviation.", mean, std**2
    if np.all(np.abs(mean) < _NEAR_STANDARD) and np.all(np.abs(std[std > 0] - 1) < _NEAR_STANDARD) and (std > 0).any():
        yield "already-standardized", "The data has mean 0 and standard deviation 1 already.", given.mean, given.std
    for name, (known_mean, known_std) in _PUBLISHED.items():
        for factor in (1.0, 255.0):
            published = np.array(known_mean) * factor, np.array(known_std) * factor
            if published[0].size == mean.size and all(
                np.allclose(a, b, rtol=2e-3) for a, b in zip(published, (given.mean, given.std), strict=True)
            ):
                yield "another-data-set", f"The statistics are those published for {name}.", given.mean, given.std


def _agrees(given: Given, data: _Data) -> bool:
    """Whether the data's own numbers are those given, as far as sampling and the digits given can tell."""
    mean, std = data.state.moments.mean, data.state.moments.std
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        return False
    # Those given come from a sample too, of the same size where nothing else is known.
    rows = data.state.fingerprint.rows if given.state is None else max(given.state.fingerprint.rows, 1)
    more = _ERRORS * np.sqrt(1 + data.state.fingerprint.rows / rows)
    of_mean, of_std = (more * np.nan_to_num(error) for error in data.errors)
    close = np.abs(given.mean - mean) <= np.maximum(of_mean, _written(given.mean)) + 1e-9 * np.abs(mean)
    return bool((close & (np.abs(given.std - std) <= np.maximum(of_std, _written(given.std)) + 1e-9 * std)).all())


def _misfit(given: Given, mean: Vector, std: Vector, width: Vector) -> float:
    """The largest difference of a mean, in deviations, or of the logarithm of a deviation, over all features; infinite
    where unknown.
    """
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        return np.inf
    with np.errstate(all="ignore"):
        of_mean = np.abs(given.mean - mean) / np.where(width > 0, width, np.finfo(float).tiny)
        of_std = np.where(given.std == std, 0.0, np.abs(np.log(given.std / std)))
    return float(np.max(np.maximum(np.where(given.mean == mean, 0.0, of_mean), np.nan_to_num(of_std, nan=np.inf))))


def _relative(data: _Data) -> float:
    """The largest standard error, beside its deviation."""
    std = data.state.moments.std
    with np.errstate(all="ignore"):
        shares = np.maximum(*data.errors)[std > 0] / std[std > 0]
    return float(np.nan_to_num(shares, nan=np.inf).max(initial=0.0))


def _harmless(given: Given, mean: Vector, std: Vector) -> bool:
    """Whether a difference, be it more than chance, changes nothing that a network would notice."""
    near = np.abs(given.mean - mean) <= _HARMLESS * std
    return bool((near & (np.abs(given.std - std) <= _HARMLESS * std)).all())


def _by_rare_events(given: Given, data: _Data) -> bool:
    """Whether rare large values, that a sample may miss or meet, could explain each difference.

    A fourth power of a deviation is at most range^2 times its square, so the kurtosis is at most range^2 / variance:
    that bounds the standard error of a standard deviation, about which few rows then tell little.
    """
    moments, rows = data.state.moments, _rows(data)
    known = [moments] if given.state is None else [moments, given.state.moments]
    reach = np.fmax.reduce([m.max for m in known]) - np.fmin.reduce([m.min for m in known])
    std = np.maximum(given.std, moments.std)
    with np.errstate(all="ignore"):
        of_std = _ERRORS * np.nan_to_num(std * np.sqrt((reach / std) ** 2 / (4 * rows)))
    near = np.abs(given.mean - moments.mean) <= np.maximum(_ERRORS * std / np.sqrt(rows), _HARMLESS * std)
    return bool((near & (np.abs(given.std - moments.std) <= np.maximum(of_std, _HARMLESS * std))).all())


def _rows(data: _Data) -> Vector:
    """[D]: independent values of each feature, at least 1."""
    return np.maximum(np.minimum(data.state.moments.count, data.state.fingerprint.rows), 1.0)


def _written(values: Vector) -> Vector:
    """Half a unit of the last decimal, where a number has at most `_DECIMALS` of them."""
    places = [len(f"{value:.12g}".partition(".")[2]) for value in values]
    widest = max(places, default=12)  # zeros at the end are not written
    return (
        np.full(values.size, 0.5 * 10.0**-widest)
        if widest <= _DECIMALS and "e" not in "".join(f"{v:.12g}" for v in values)
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
    shares = [
        moments.nan_count / np.maximum(moments.nan_count + moments.count, 1)
        for moments in (given.state.moments, data.state.moments)
    ]
    j = int(np.argmax(np.abs(shares[1] - shares[0])))
    before, now = float(shares[0][j]), float(shares[1][j])
    rows = [float((moments.nan_count + moments.count)[j]) for moments in (given.state.moments, data.state.moments)]
    share = (before * rows[0] + now * rows[1]) / sum(rows)
    chance = np.sqrt(share * (1 - share) * (1 / rows[0] + 1 / rows[1]))
    if abs(now - before) <= max(_MISSING, _ERRORS * chance):
        return None
    where = data.state.where(j)
    text = (
        f"At `{where}` {100 * now:.3g} % of the values are missing; of the data behind the statistics"
        f" {100 * before:.3g} % were."
    )
    evidence = (Evidence("share of missing values", now, where, reference=f"{before:.3g}"),)
    return NOT_THEIRS.found(Verdict.SUSPECT, text, where=where, cause="missing-values", evidence=evidence)


def _error(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
