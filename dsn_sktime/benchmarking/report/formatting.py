"""Numbers, counts and messages as the pages write them."""

import pandas as pd

MISSING = "\N{EN DASH}"


def number(value: float, digits: int) -> str:
    """Format a number with a fixed count of decimals, or a dash if it is missing."""
    return MISSING if pd.isna(value) else f"{value:,.{digits}f}"


def numbers(values: pd.Series) -> str:
    """List the distinct whole numbers, or their range if there are more than four."""
    texts = [f"{value:,.0f}" for value in sorted(values.dropna().unique())]
    return ", ".join(texts) if len(texts) < 5 else f"{texts[0]} to {texts[-1]}"


def count(n: int, noun: str) -> str:
    """Format a number and its noun: "1 run", "2 runs"."""
    return f"{n} {noun if n == 1 else noun + 's'}"


def one_line(message: str) -> str:
    """Shorten a message and remove its line breaks."""
    return " ".join(message.split())[:300] or "no message"
