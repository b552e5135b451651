"""Numbers, counts and messages as the pages write them."""

from __future__ import annotations

import pandas as pd

__all__ = ["MISSING", "count", "format_number", "list_numbers", "one_line", "percent"]

MISSING = "\N{EN DASH}"
_LONGEST_MESSAGE = 300
_MOST_LISTED = 4


def percent(share: float) -> str:
    """Format a share in 0..1 in per cent, without the sign."""
    return f"{100 * share:.1f}"


def format_number(value: float, digits: int) -> str:
    """Format a number with a fixed count of decimals, or a dash if it is missing."""
    return MISSING if pd.isna(value) else f"{value:,.{digits}f}"


def list_numbers(values: pd.Series) -> str:
    """List the distinct whole numbers, or their range if there are many."""
    distinct = sorted(values.dropna().unique())
    if len(distinct) > _MOST_LISTED:
        return f"{distinct[0]:,.0f} to {distinct[-1]:,.0f}"
    return ", ".join(f"{value:,.0f}" for value in distinct)


def count(n: int, noun: str) -> str:
    """Format a number and its noun: "1 run", "2 runs"."""
    return f"{n} {noun if n == 1 else noun + 's'}"


def one_line(message: object) -> str:
    """Shorten a message and remove its line breaks."""
    return " ".join(str(message).split())[:_LONGEST_MESSAGE] or "no message"
