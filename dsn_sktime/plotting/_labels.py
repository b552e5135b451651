"""Labels of points, placed without overlap."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

# Distances from the point to the text, in points of 1/72 inch, and the sides tried first.
_DISTANCES = (6, 13, 22, 34)
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_HORIZONTAL = {-1: "right", 0: "center", 1: "left"}
_VERTICAL = {-1: "top", 0: "center", 1: "bottom"}
_POINT_RADIUS = 4


def label_points(
    ax: Axes,
    points: np.ndarray,
    names: Sequence[str],
    size: float = 8,
    avoid: np.ndarray | None = None,
) -> None:
    """Write each name next to its point, at the nearest free place.

    Call it last: limits and scales of the axes must be final. A name that has to stand
    away from its point is joined to it by a line. ``avoid`` holds all points that a name
    must not cover, those named among them; it is ``points`` if None.
    """
    if len(points) == 0:
        return
    from matplotlib.transforms import Bbox

    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    radius = _POINT_RADIUS * figure.dpi / 72
    centers = ax.transData.transform(points if avoid is None else avoid)
    taken = [Bbox([center - radius, center + radius]) for center in centers]
    for name, point in zip(names, points, strict=True):
        taken.append(_label(ax, point, name, taken, size))


def _label(ax: Axes, point: np.ndarray, name: str, taken: list[Bbox], size: float) -> Bbox:
    """Write one name and return the box that it takes."""
    for distance, (right, up) in product(_DISTANCES, _SIDES):
        offset = (right * distance, up * distance)
        text = ax.annotate(
            name,
            (point[0], point[1]),
            offset,
            textcoords="offset points",
            ha=_HORIZONTAL[right],
            va=_VERTICAL[up],
            fontsize=size,
        )
        box = text.get_window_extent()
        is_inside = ax.bbox.contains(*box.min) and ax.bbox.contains(*box.max)
        if is_inside and not box.count_overlaps(taken):
            if distance > _DISTANCES[0]:
                _join(ax, point, offset)
            return box
        text.remove()
    # No place is free: overlapping names are better than none.
    return ax.annotate(name, (point[0], point[1]), fontsize=size).get_window_extent()


def _join(ax: Axes, point: np.ndarray, offset: tuple[float, float]) -> None:
    line = {"arrowstyle": "-", "lw": 0.5, "color": "0.5", "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", (point[0], point[1]), offset, textcoords="offset points", arrowprops=line)
