"""A page of tables and figures, written as one HTML file and as Markdown with images."""

import html
import io
import re
from base64 import b64encode
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

_NEEDED = ("jinja2", "matplotlib", "networkx", "scikit_posthocs")
# Without the salt, and without a date, the same numbers would give other bytes every time.
_STYLE: dict[Any, Any] = {"font.size": 9, "svg.hashsalt": "dsn_sktime"}


class Table(NamedTuple):
    """Cells of text, the first column naming the rows; ``best`` marks cells to stress."""

    caption: str
    cells: pd.DataFrame
    best: np.ndarray | None = None


class Figure(NamedTuple):
    """A picture, its content in words, and how to read it; small ones stand side by side."""

    name: str
    alt: str
    caption: str
    svg: bytes
    png: bytes
    wide: bool

    @property
    def address(self) -> str:
        """The picture itself as an address, so that a page needs no other file."""
        return "data:image/svg+xml;base64," + b64encode(self.svg).decode()


class Section(NamedTuple):
    """Paragraphs, then figures, then tables, under a title."""

    title: str
    paragraphs: list[str]
    figures: list[Figure]
    tables: list[Table]


class Page(NamedTuple):
    """Sections under a title; rows and columns named in ``published`` are styled as such."""

    title: str
    paragraphs: list[str]
    sections: list[Section]
    published: set[str]

    def write(self, path: Path) -> None:
        """Write ``path.html``, which needs no other file, and ``path.md`` with ``figures``."""
        import jinja2

        loader = jinja2.PackageLoader("dsn_sktime.benchmarking.report", "")
        environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True)
        text = environment.get_template("page.html").render(page=self)
        path.with_name(f"{path.name}.html").write_text(text, encoding="utf-8")
        path.with_name(f"{path.name}.md").write_text(self.markdown(), encoding="utf-8")
        for figure in (figure for section in self.sections for figure in section.figures):
            file = path.parent / "figures" / f"{figure.name}.png"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(figure.png)

    def markdown(self) -> str:
        """Return the page as Markdown whose pictures lie in the folder ``figures``."""
        lines = [f"# {_escaped(self.title)}", *map(_escaped, self.paragraphs)]
        for section in self.sections:
            lines += [f"## {_escaped(section.title)}", *map(_escaped, section.paragraphs)]
            for figure in section.figures:
                lines.append(f"![{_escaped(figure.alt)}](figures/{figure.name}.png)")
                lines.append(_escaped(figure.caption))
            for table in section.tables:
                lines += [_escaped(table.caption), self._markdown_table(table)]
        return "\n\n".join(lines) + "\n"

    def _markdown_table(self, table: Table) -> str:
        published, best = self._marks(table)
        marks = np.where(published, "*", "") + np.where(best, "**", "").astype(object)
        cells = marks + table.cells.map(_escaped).to_numpy() + marks
        stress = ["*" * (name in self.published) for name in table.cells]
        names = [
            f"{mark}{_escaped(name)}{mark}" for mark, name in zip(stress, table.cells, strict=True)
        ]
        rules = ["---", *np.where(_is_text(table.cells), "---", "---:")[1:]]
        return "\n".join(f"| {' | '.join(row)} |" for row in (names, rules, *cells))

    def html(self, table: Table, identifier: str) -> str:
        """Return a table as HTML whose headers are buttons."""
        published, best = self._marks(table)
        classes = np.where(published, "published ", "") + np.where(best, "best ", "").astype(object)
        classes = classes + np.where(_is_text(table.cells), "text", "")
        styler = table.cells.style.hide(axis="index").format(html.escape)
        styler.set_td_classes(pd.DataFrame(classes, table.cells.index, table.cells.columns))
        text = dict(zip(table.cells, _is_text(table.cells), strict=True))

        def button(name: str) -> str:
            style = "published " * (name in self.published) + "text" * text[name]
            return f'<button type="button" class="{style}">{html.escape(name)}</button>'

        return styler.format_index(button, axis=1).to_html(table_uuid=identifier)

    def _marks(self, table: Table) -> tuple[np.ndarray, np.ndarray]:
        """Return for each cell whether it was published, and whether it is to be stressed."""
        cells = table.cells
        rows, columns = cells.iloc[:, 0].isin(self.published), cells.columns.isin(self.published)
        best = np.zeros(cells.shape, bool) if table.best is None else table.best
        return rows.to_numpy()[:, None] | columns, best


def check_installed() -> None:
    """Raise ModuleNotFoundError if a package is missing that pages are made with."""
    missing = ", ".join(name for name in _NEEDED if find_spec(name) is None)
    if missing:
        raise ModuleNotFoundError(f"pages need {missing}: pip install dsn-sktime[benchmarks]")


def draw(
    name: str,
    plot: Callable[[Any], object],
    alt: str,
    caption: str,
    size: tuple[float, float],
    wide: bool = True,
) -> Figure:
    """Draw on axes of ``size`` inches as SVG and as PNG, without pyplot and its settings."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=size, layout="constrained")
        plot(canvas.add_subplot())
        svg, png = io.BytesIO(), io.BytesIO()
        canvas.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
        canvas.savefig(png, format="png", dpi=130)
    return Figure(name, alt, caption, svg.getvalue(), png.getvalue(), wide)


def _is_text(cells: pd.DataFrame) -> list[bool]:
    """Return for each column whether no cell starts with a digit."""
    return [not cells[name].str[:1].str.isdigit().any() for name in cells]


def _escaped(text: str) -> str:
    """Return text in which nothing is read as Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>|~#&$])", r"\\\1", " ".join(text.split()))
