"""scikit-learn's contract, without needing scikit-learn: parameters, tags, feature names, output containers."""

from __future__ import annotations

import inspect
import sys
from typing import Any, Self

import narwhals as nw
import numpy as np

from wellposed.errors import InputError
from wellposed.inputs.columns import columns_of
from wellposed.numerics.arrays import Array


class plain_only:
    """A method that is not there where the estimator whitens, is robust or stops early."""

    def __init__(self, method: Any) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, estimator: Any, kind: Any = None) -> Any:
        if estimator is not None and (estimator.whiten or estimator.robust or estimator.early_stop is not None):
            raise AttributeError(
                f"{self._method.__name__} knows mean and standard deviation alone: not with whiten, robust or"
                " early_stop"
            )
        return self._method.__get__(estimator, kind)


class Estimator:
    """Parameters are the arguments of `__init__`, kept under their names."""

    feature_names_in_: Array
    n_features_in_: int

    @classmethod
    def _parameters(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {name: vars(self)[name] for name in self._parameters()}

    def set_params(self, **params: Any) -> Self:
        for name, value in params.items():
            if name not in self._parameters():
                raise InputError(
                    f"{type(self).__name__} has no parameter {name!r}", hint=f"it has {', '.join(self._parameters())}"
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        given = {name: value for name, value in self.get_params().items() if value is not defaults[name].default}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    @property
    def _known_names(self) -> Array | None:
        """The columns' names, where the data had any: scikit-learn knows a fitted estimator by its attributes."""
        return vars(self).get("feature_names_in_")

    def __sklearn_is_fitted__(self) -> bool:
        return "n_features_in_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=["float64", "float32"]),
            input_tags=InputTags(two_d_array=True, three_d_array=True, allow_nan=True),
        )

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """The names of the columns that come out: those that went in, x0, x1, ... where they had none."""
        self._require_fitted()
        known = self._known_names
        if input_features is not None:
            given = np.asarray(input_features, dtype=object)
            if known is not None and list(known) != list(given):
                raise InputError("input_features is not equal to feature_names_in_")
            if len(given) != self.n_features_in_:
                raise InputError(
                    f"input_features should have length equal to number of features ({self.n_features_in_}), got"
                    f" {len(given)}"
                )
            return given
        return (
            known.copy() if known is not None else np.array([f"x{j}" for j in range(self.n_features_in_)], dtype=object)
        )

    def set_output(self, *, transform: str | None = None) -> Self:
        """What `transform` returns of a table [N, D]: "default" (an array), "pandas" or "polars"."""
        if transform not in (None, "default", "pandas", "polars"):
            raise InputError(f"transform={transform!r} is unknown", hint='"default", "pandas" or "polars"')
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}
        return self

    def _container(self) -> str:
        own: str | None = vars(self).get("_sklearn_output_config", {}).get("transform")
        if own is None and "sklearn" in sys.modules:
            own = sys.modules["sklearn"].get_config()["transform_output"]
        return own or "default"

    def _contained(self, result: Array, like: Any) -> Any:
        """As `set_output` asks, with the index of a pandas table that went in."""
        kind = self._container()
        if kind == "default" or result.ndim != 2:
            return result
        names = list(self.get_feature_names_out())
        if kind == "polars":
            import polars

            return polars.DataFrame(result, schema=list(map(str, names)), orient="row")
        import pandas

        return pandas.DataFrame(
            result, columns=names, index=like.index if isinstance(like, pandas.DataFrame) else None, copy=False
        )

    def _remember_names(self, names: tuple[str, ...]) -> None:
        if names:
            self.feature_names_in_ = np.array(names, dtype=object)
        elif self._known_names is not None:
            del self.feature_names_in_

    def _match_names(self, x: Any) -> None:
        """Names that change between fit and transform are an error, names on one side alone a warning."""
        names, known = column_names(x), self._known_names
        if names and known is not None and list(names) != list(known):
            raise InputError(_named_differently(list(names), list(known)))
        if bool(names) != (known is not None) and "sklearn" in sys.modules:
            import warnings

            said = (
                f"X does not have valid feature names, but {type(self).__name__} was fitted with feature names"
                if known is not None
                else f"X has feature names, but {type(self).__name__} was fitted without feature names"
            )
            warnings.warn(said, UserWarning, stacklevel=4)

    def _require_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise not_fitted(
                f"this {type(self).__name__} has not been fitted", hint=f"{type(self).__name__}().fit(x_train)"
            )


def not_fitted(message: str, *, hint: str) -> InputError:
    """An `InputError` that is scikit-learn's NotFittedError too, where that is known."""
    if "sklearn" not in sys.modules:
        return InputError(message, hint=hint)
    from sklearn.exceptions import NotFittedError

    return type("NotFitted", (InputError, NotFittedError), {})(message, hint=hint)  # type: ignore[no-any-return]


def column_names(x: Any) -> tuple[str, ...]:
    """Of a table whose columns are all named by text; () otherwise."""
    frame = nw.from_native(x, pass_through=True, allow_series=False)
    if not isinstance(frame, nw.DataFrame | nw.LazyFrame):
        return ()
    columns = columns_of(x) if isinstance(frame, nw.DataFrame) and columns_of(x) else frame.collect_schema().names()
    return tuple(columns) if all(isinstance(name, str) for name in columns) else ()


def _named_differently(names: list[str], known: list[str]) -> str:
    """In scikit-learn's words, which its users know."""
    text = "The feature names should match those that were passed during fit.\n"
    unseen, missing = sorted(set(names) - set(known)), sorted(set(known) - set(names))
    if unseen:
        text += "Feature names unseen at fit time:\n" + "".join(f"- {name}\n" for name in unseen[:5])
    if missing:
        text += "Feature names seen at fit time, yet now missing:\n" + "".join(f"- {name}\n" for name in missing[:5])
    if not unseen and not missing:
        text += "Feature names must be in the same order as they were in fit.\n"
    return text
