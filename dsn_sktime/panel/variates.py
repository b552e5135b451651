"""Matching of the variates of new series with those of the training series."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from dsn_sktime.panel.frames import looks_like_key
from dsn_sktime.panel.raw_panel import RawPanel
from dsn_sktime.panel.user_warning import warn_user

# Fewer rise by chance.
_MIN_STEPS = 8


def match_variates(
    raw: RawPanel, n_variates: int, names: tuple[Hashable, ...] | None, whose: str
) -> RawPanel:
    """Return series with the variates in the order that a network was trained with.

    ``names`` are those of the training series' variates; None leaves the order to the user.
    ``whose`` says which variates these are, for messages. Another number of variates or other
    names raise ValueError.
    """
    given = raw.variate_names
    have_names = not (_is_default(names) or _is_default(given))
    if raw.n_variates != n_variates and not have_names:
        raise ValueError(
            f"X must have the {n_variates} variates {whose}, found {raw.n_variates}. {raw.layout}"
        )
    if names is None or given is None or given == names:
        return raw
    order = matching_order(given, names, whose)
    return raw.take_variates(order)


def matching_order(
    found: tuple[Hashable, ...], expected: tuple[Hashable, ...], whose: str, where: str = ""
) -> np.ndarray:
    """Return the places at which the expected names are found.

    Names that a container gives of itself (0, 1, ... or var_0, var_1, ...) match any.
    """
    # Numbers become text in a file and back.
    texts = [str(name) for name in found]
    if set(found) == set(expected):
        return np.array([found.index(name) for name in expected])
    if len(set(texts)) == len(texts) and set(texts) == set(map(str, expected)):
        return np.array([texts.index(str(name)) for name in expected])
    if _is_default(found) or _is_default(expected):
        return np.arange(len(found))
    differences = {
        "unexpected": [name for name in found if name not in expected],
        "no": [name for name in expected if name not in found],
    }
    listed = " and ".join(f"{word} {_brief(names)}" for word, names in differences.items() if names)
    raise ValueError(
        f"X must have the variates {whose}, found {listed}{where}. Rename or select the columns; "
        "pass arrays to match them by position."
    )


def _brief(names: list[Hashable]) -> str:
    rest = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(map(repr, names[:6])) + rest


def _is_default(names: tuple[Hashable, ...] | None) -> bool:
    return names is None or any(
        names == tuple(make(i) for i in range(len(names)))
        for make in (int, str, "var_{}".format, "dim_{}".format)
    )


def _is_key(raw: RawPanel, place: int, name: Hashable) -> bool:
    """Return True for a variate with the name of an id or a time that is constant or rises."""
    # One letter may be any quantity.
    if not looks_like_key(name) or len(str(name)) == 1 or raw.lengths.max() < _MIN_STEPS:
        return False
    rows = [series[place] for series in raw.series]
    is_id = all((row == row[0]).all() and row[0] % 1 == 0 for row in rows)
    return is_id or all((row[1:] > row[:-1]).all() for row in rows)


def warn_about_axes(raw: RawPanel) -> None:
    """Warn where the axes look swapped or variates are none, and once for all padded series."""
    if raw.n_padded:
        warn_user(
            f"{raw.n_padded} of {len(raw)} series end in steps that are missing in every variate. "
            "They are treated as padding, which shortens these series. Fill such steps if they are "
            "part of a series."
        )
    keys = [name for place, name in enumerate(raw.variate_names or ()) if _is_key(raw, place, name)]
    if keys:
        warn_user(
            f"X has the variates {_brief(keys)}, which hold ids, times or labels by their names "
            "and values. Leave them out: a model that learns from them is misled on new series."
        )
    longest = raw.lengths.max()
    if raw.n_variates > longest:
        warn_user(
            f"X has {raw.n_variates} variates and series of at most {longest} time steps. If its "
            "axes are (series, time steps, variates), use X.transpose(0, 2, 1) for an array and "
            "[x.T for x in X] for a list."
        )
