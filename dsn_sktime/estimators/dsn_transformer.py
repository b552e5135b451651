"""DSNTransformer: the features of a Dynamic Sparse Network as a transformer of sktime."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import numpy as np
import pandas as pd
from sktime.transformations.base import BaseTransformer

from dsn_sktime.estimators.dsn_classifier import DSNClassifier
from dsn_sktime.estimators.dsn_regressor import DSNRegressor
from dsn_sktime.estimators.sklearn_compat import KeepOnResetMixin
from dsn_sktime.panel import RawPanel, read_panel


class DSNTransformer(KeepOnResetMixin, BaseTransformer):
    """Features of a Dynamic Sparse Network, as a table for any estimator.

    ``fit`` trains a classifier or a regressor on series and targets; ``transform`` returns a
    data frame with a column for each feature that its head reads, as
    :meth:`DSNClassifier.transform` does.

    Parameters
    ----------
    estimator : DSNClassifier, DSNRegressor or None, default=None
        Estimator to train, which is cloned; None is ``DSNClassifier()``. The
        parameters of one that is given are set as ``estimator__n_epochs`` and so on; its
        ``head`` decides on the features.

    Attributes
    ----------
    estimator_ : DSNClassifier or DSNRegressor
        The trained estimator.

    See Also
    --------
    DSNClassifier.transform : The same features of a classifier that predicts, too.

    Notes
    -----
    The network has seen the targets of its training series. An estimator that is fitted on the
    features of the same series, as in a pipeline, sees classes that are further apart than
    those of new series are: prefer simple ones, and judge by series of neither.

    Containers are read as by the estimator, not as sktime's transformers do: a 2-D array or a
    frame with one index level is a table of univariate series.

    Examples
    --------
    >>> from dsn_sktime import DSNClassifier, DSNTransformer
    >>> from sklearn.linear_model import RidgeClassifierCV
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktime.datasets import load_unit_test
    >>> X, y = load_unit_test("train", return_type="numpy3D")
    >>> network = DSNClassifier(n_epochs=2, n_layers=2, n_filters=4, random_state=0)
    >>> features = DSNTransformer(network).fit_transform(X, y)
    >>> features.shape
    (20, 144)
    >>> pipeline = make_pipeline(DSNTransformer(network), RidgeClassifierCV()).fit(X, y)
    """

    _tags = {
        "authors": ["dsn_sktime"],
        "maintainers": ["dsn_sktime"],
        "python_dependencies": ["torch>=2.3"],
        "scitype:transform-input": "Series",
        "scitype:transform-output": "Primitives",
        "scitype:transform-labels": "Primitives",
        "scitype:instancewise": False,  # Its fit needs all series at once.
        "X_inner_mtype": ["df-list", "numpy3D"],
        "y_inner_mtype": "numpy1D",
        "requires_y": True,
        "fit_is_empty": False,
        "capability:multivariate": True,
        "capability:unequal_length": True,
        "capability:unequal_length:removes": True,
        "capability:missing_values": True,
        "capability:missing_values:removes": True,
        "capability:categorical_in_X": False,
    }

    def __init__(self, estimator: DSNClassifier | DSNRegressor | None = None) -> None:
        self.estimator = estimator
        super().__init__()

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return small settings for sktime's contract tests."""
        tiny: dict[str, Any] = {"n_epochs": 1, "n_layers": 1, "n_filters": 2, "random_state": 0}
        classifier = DSNClassifier(**tiny, n_estimators=2, n_pool=3, head="bins")
        return [{"estimator": classifier}, {"estimator": DSNRegressor(**tiny)}]

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train the estimator.

        Parameters
        ----------
        X : array of shape (n, m, L) or any other container of series
            As in :meth:`DSNClassifier.fit`.
        y : array-like of shape (n,)
            Their targets. A Series whose index holds the ids of the series is put into their
            order.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            As the estimator's ``fit``, or if ``y`` has several columns.
        """
        estimator = self._unfitted()
        raw = _read(X, estimator._read_training_series)
        if raw is None:
            return super().fit(X, y)
        if y is not None:  # Read here, as sktime drops the ids of a Series.
            y = np.asarray(estimator._read_target(y, raw))
            if y.ndim != 1:
                raise ValueError(
                    f"y must be 1-D, found shape {y.shape}. Fit a transformer for each column."
                )
        return super().fit(_as_container(raw), y)

    def transform(self, X: Any, y: Any = None) -> pd.DataFrame:
        """Compute the features.

        Parameters
        ----------
        X : array of shape (n, m, L) or any other container of series
            As in :meth:`DSNClassifier.predict`.
        y : None
            Ignored.

        Returns
        -------
        DataFrame of shape (n, d)
            Its index holds the ids of the series, where ``X`` has any.

        Raises
        ------
        ValueError, TypeError
            If ``X`` is invalid.
        NotFittedError
            If the transformer is not fitted.
        """
        self.check_is_fitted()
        names = getattr(self.estimator_, "variate_names_", None)
        raw = _read(X, partial(read_panel, variate_names=names))
        if raw is None:
            return super().transform(X, y)
        found = super().transform(_as_container(raw), y)
        return found if raw.ids is None else found.set_index(raw.ids)

    def set_output(self, *, transform: str | None = None) -> Self:
        """Do nothing: features are a data frame, whatever scikit-learn asks for."""
        return self

    def _unfitted(self) -> DSNClassifier | DSNRegressor:
        estimator = DSNClassifier() if self.estimator is None else self.estimator
        if not isinstance(estimator, DSNClassifier | DSNRegressor):
            raise TypeError(
                "estimator must be a DSNClassifier, a DSNRegressor or None, found "
                f"{type(estimator).__name__}."
            )
        return estimator.clone()

    def _fit(self, X: Any, y: np.ndarray) -> DSNTransformer:
        # As series that were read, of which fit has warned.
        self.estimator_ = self._unfitted().fit(read_panel(X), y)
        return self

    def _transform(self, X: Any, y: Any = None) -> pd.DataFrame:
        features = self.estimator_.pooled_features(X)
        return pd.DataFrame(features, columns=self.get_feature_names_out())

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns, as :meth:`DSNClassifier.get_feature_names_out`.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        array of str of shape (d,)
        """
        self.check_is_fitted()
        return self.estimator_.pooled_feature_names()


def _read(X: Any, read: Callable[[Any], RawPanel]) -> RawPanel | None:
    """Read series; None leaves a frame to sktime.

    It transforms each of several panels by itself, and refuses categories in its own words.
    """
    if isinstance(X, pd.DataFrame) and X.index.nlevels > 2:
        return None
    try:
        return read(X)
    except (TypeError, ValueError):
        if isinstance(X, pd.DataFrame) and X.select_dtypes(["number", "bool"]).empty:
            return None
        raise


def _as_container(raw: RawPanel) -> np.ndarray | list[pd.DataFrame]:
    """Return series in a container of sktime.

    It would take a 2-D array or a wide frame for a single series, and refuses lists of arrays.
    """
    if isinstance(raw.series, np.ndarray) and raw.variate_names is None:
        return raw.series
    return [pd.DataFrame(one.T, columns=raw.variate_names) for one in raw.series]
