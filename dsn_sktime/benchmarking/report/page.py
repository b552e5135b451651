"""A page of tables and figures, written as one HTML file and as Markdown with images."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Figure", "Page", "Section", "Table", "check_installed", "draw"]

_NEEDED = ("jinja2", "matplotlib", "networkx", "scikit_posthocs")
# Without the salt, and without metadata, the same numbers would give other bytes every time.
_STYLE: dict[Any, Any] = {"font.size": 9, "svg.hashsalt": "dsn_sktime"}


@dataclass(frozen=True)
class Table:
    """Cells of text, the first column naming the rows; ``best`` marks cells to stress."""

    caption: str
    cells: pd.DataFrame
    best: np.ndarray | None = None


@dataclass(frozen=True)
class Figure:
    """A picture, its content in words, and how to read it; small ones stand side by side."""

    name: str
    alt: str
    caption: str
    svg: bytes = field(repr=False)
    png: bytes = field(repr=False)
    wide: bool = True

    @property
    def address(self) -> str:
        """The picture itself as an address, so that a page needs no other file."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()


@dataclass(frozen=True)
class Section:
    """Paragraphs, then figures, then tables, under a title."""

    title: str
    paragraphs: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """Sections under a title; rows and columns named in ``published`` are styled as such."""

    title: str
    paragraphs: list[str]
    sections: list[Section]
    published: frozenset[str] = frozenset()

    def write(self, path: Path) -> None:
        """Write ``path.html``, which needs no other file, and ``path.md`` with ``figures``."""
        import jinja2

        loader = jinja2.PackageLoader("dsn_sktime.benchmarking.report", "")
        environment = jinja2.Environment(
            loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        text = environment.get_template("page.html").render(page=self)
        path.with_name(f"{path.name}.html").write_text(text, encoding="utf-8")
        for section in self.sections:
            for figure in section.figures:
                file = path.parent / "figures" / f"{figure.name}.png"
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(figure.png)
        path.with_name(f"{path.name}.md").write_text(self.markdown(), encoding="utf-8")

    def markdown(self) -> str:
        """Return the page as Markdown whose pictures lie in the folder ``figures``."""
        lines = [f"# {_escaped(self.title)}", *map(_escaped, self.paragraphs)]
        for section in self.sections:
            lines += [f"## {_escaped(section.title)}", *map(_escaped, section.paragraphs)]
            for figure in section.figures:
                lines.append(f"![{_escaped(figure.alt)}](figures/{figure.name}.png)")
                lines.append(_escaped(figure.caption))
            for table in section.tables:
                lines += [_escaped(table.caption), "\n".join(self._markdown_rows(table))]
        return "\n\n".join(lines) + "\n"

    def html(self, table: Table, identifier: str) -> str:
        """Return a table as HTML whose headers are buttons."""
        cells, (published, best) = table.cells, self._marks(table)
        classes = np.where(published, "published ", "") + np.where(best, "best ", "")
        classes = pd.DataFrame(classes, cells.index, cells.columns) + _alignment(cells, "text", "")
        styler = cells.style.hide(axis="index").format(html.escape).set_td_classes(classes)
        styler = styler.format_index(partial(self._button, cells), axis=1)
        return styler.to_html(table_uuid=identifier)

    def _button(self, cells: pd.DataFrame, name: str) -> str:
        style = "published " if name in self.published else ""
        style += _alignment(cells, "text", "")[name]
        return f'<button type="button" class="{style}">{html.escape(name)}</button>'

    def _markdown_rows(self, table: Table) -> Iterator[str]:
        cells, (published, best) = table.cells, self._marks(table)
        header = [_stressed(name, name in self.published) for name in cells]
        texts = [
            [_stressed(text, *marks) for text, *marks in zip(*row, strict=True)]
            for row in zip(cells.to_numpy(), published, best, strict=True)
        ]
        for row in (header, ["---", *_alignment(cells, "---", "---:")[1:]], *texts):
            yield f"| {' | '.join(row)} |"

    def _marks(self, table: Table) -> tuple[np.ndarray, np.ndarray]:
        """Return for each cell whether it was published, and whether it is to be stressed."""
        cells = table.cells
        rows, columns = cells.iloc[:, 0].isin(self.published), cells.columns.isin(self.published)
        best = np.zeros(cells.shape, bool) if table.best is None else table.best
        return rows.to_numpy()[:, None] | columns, best


def check_installed() -> None:
    """Raise ModuleNotFoundError if a package is missing that pages are made with."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"pages need {', '.join(missing)}: pip install dsn-sktime[benchmarks]"
        )


def draw(
    name: str,
    plot: Callable[[Axes], object],
    alt: str,
    caption: str,
    size: tuple[float, float],
    wide: bool = True,
) -> Figure:
    """Draw a figure of ``size`` inches as SVG and as PNG, without pyplot and its settings."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=size, layout="constrained")
        plot(canvas.add_subplot())
        svg, png = io.BytesIO(), io.BytesIO()
        canvas.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
        canvas.savefig(png, format="png", dpi=130)
    return Figure(name, alt, caption, svg.getvalue(), png.getvalue(), wide)


def _alignment(cells: pd.DataFrame, text: str, number: str) -> pd.Series:
    """Choose by whether a cell of the column starts with a digit."""
    has_digits = cells.apply(lambda column: column.str[:1].str.isdigit().any())
    return has_digits.map({True: number, False: text})


def _stressed(text: str, published: bool, best: bool = False) -> str:
    marks = "*" * (published + 2 * best)
    return marks + _escaped(text) + marks


def _escaped(text: str) -> str:
    """Return text in which nothing is read as Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>|~#&$])", r"\\\1", " ".join(text.split()))
