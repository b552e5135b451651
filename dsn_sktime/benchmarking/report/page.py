"""A page of tables and figures, written as one HTML file and as Markdown with images."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Figure", "Page", "Section", "Table", "check_installed", "draw"]

_NEEDED = ("jinja2", "matplotlib", "networkx", "scikit_posthocs")
_STYLE: dict[Any, Any] = {"font.size": 9}
# Without both, the same numbers would give other bytes every time.
_SAME_BYTES: dict[Any, Any] = {"svg.hashsalt": "dsn_sktime"}
_NO_DATE = {"Date": None}


@dataclass(frozen=True)
class Table:
    """Rows of text under a header.

    ``published_rows`` and ``published_columns`` are those whose numbers were taken from
    publications, ``best`` the cells to stress, by (row, column).
    """

    caption: str
    columns: list[str]
    rows: list[list[str]]
    published_rows: frozenset[int] = frozenset()
    published_columns: frozenset[int] = frozenset()
    best: frozenset[tuple[int, int]] = frozenset()

    def is_published(self, row: int, column: int) -> bool:
        """Tell whether a cell belongs to a published row or column."""
        return row in self.published_rows or column in self.published_columns

    def is_text(self, column: int) -> bool:
        """Tell whether no cell of a column starts with a digit."""
        return not any(row[column][:1].isdigit() for row in self.rows)


@dataclass(frozen=True)
class Figure:
    """A picture, what it shows in words, and how to read it."""

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
    """Sections under a title."""

    title: str
    paragraphs: list[str]
    sections: list[Section]

    def write_html(self, path: Path) -> None:
        """Write a file that needs no other: style and pictures are inside."""
        import jinja2

        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("dsn_sktime.benchmarking"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        html = environment.get_template("page.html").render(page=self)
        path.write_text(html, encoding="utf-8")

    def write_markdown(self, path: Path) -> None:
        """Write Markdown, and its pictures as PNG into the folder ``figures`` beside it."""
        lines = [f"# {_escaped(self.title)}", *map(_escaped, self.paragraphs)]
        for section in self.sections:
            lines += [f"## {_escaped(section.title)}", *map(_escaped, section.paragraphs)]
            for figure in section.figures:
                file = path.parent / "figures" / f"{figure.name}.png"
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(figure.png)
                lines.append(f"![{_escaped(figure.alt)}](figures/{file.name})")
                lines.append(_escaped(figure.caption))
            for table in section.tables:
                lines += [_escaped(table.caption), _markdown_table(table)]
        path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")


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
    size: tuple[float, float] = (6.4, 4.0),
    wide: bool = True,
) -> Figure:
    """Draw a figure of ``size`` inches and keep it as SVG and as PNG.

    pyplot is left alone, and so are its open figures and its settings.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context(_STYLE | _SAME_BYTES):
        canvas = Canvas(figsize=size, layout="constrained")
        plot(canvas.add_subplot())
        svg, png = io.BytesIO(), io.BytesIO()
        canvas.savefig(svg, format="svg", transparent=True, metadata=_NO_DATE)
        canvas.savefig(png, format="png", dpi=130)
    return Figure(name, alt, caption, svg.getvalue(), png.getvalue(), wide)


def _markdown_table(table: Table) -> str:
    header = [
        _emphasised(name, column in table.published_columns, False)
        for column, name in enumerate(table.columns)
    ]
    rules = ["---" if table.is_text(column) else "---:" for column in range(len(header))]
    lines = [header, ["---", *rules[1:]]]
    lines += [
        [
            _emphasised(cell, table.is_published(row, column), (row, column) in table.best)
            for column, cell in enumerate(cells)
        ]
        for row, cells in enumerate(table.rows)
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _emphasised(text: str, published: bool, best: bool) -> str:
    marks = "*" * (published + 2 * best)
    return marks + _escaped(text) + marks


def _escaped(text: str) -> str:
    """Let nothing in ``text`` be read as Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>|~#&$])", r"\\\1", " ".join(text.split()))
