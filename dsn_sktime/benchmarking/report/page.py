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
    """A picture as address and as PNG, its content in words, and how to read it."""

    name: str
    alt: str
    caption: str
    address: str
    png: bytes
    wide: bool


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
                marks = np.vstack(self._marked(table, "*", "**", ""))
                texts = np.vstack([table.cells.columns, table.cells]).astype(object)
                names, *rows = marks + np.vectorize(_escaped)(texts) + marks
                rules = ["---", *np.where(_is_text(table.cells), "---", "---:")[1:]]
                drawn = [f"| {' | '.join(row)} |" for row in (names, rules, *rows)]
                lines += [_escaped(table.caption), "\n".join(drawn)]
        return "\n\n".join(lines) + "\n"

    def html(self, table: Table, identifier: str) -> str:
        """Return a table as HTML whose headers are buttons."""
        cells, (header, classes) = table.cells, self._marked(table, "published ", "best ", "text")
        styler = cells.style.hide(axis="index").format(html.escape)
        styler.set_td_classes(pd.DataFrame(classes, cells.index, cells.columns))
        class_of = dict(zip(cells, header, strict=True))
        button = '<button type="button" class="{}">{}</button>'.format
        styler.format_index(lambda name: button(class_of[name], html.escape(name)), axis=1)
        return styler.to_html(table_uuid=identifier)

    def _marked(
        self, table: Table, published: str, best: str, text: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the HTML attributes of each column and each cell."""
        cells = table.cells
        rows, columns = cells.iloc[:, 0].isin(self.published), cells.columns.isin(self.published)
        is_published = rows.to_numpy()[:, None] | columns
        is_best = np.zeros(cells.shape, bool) if table.best is None else table.best
        texts = np.where(_is_text(cells), text, "").astype(object)
        marks = np.where(is_published, published, "") + np.where(is_best, best, "").astype(object)
        return np.where(columns, published, "") + texts, marks + texts


def check_installed() -> None:
    """Raise ModuleNotFoundError if a package is missing that pages are made with."""
    missing = ", ".join(name for name in _NEEDED if find_spec(name) is None)
    if missing:
        raise ModuleNotFoundError(f"pages need {missing}: pip install dsn-sktime[benchmarks]")


def draw(
    name: str, plot: Callable[..., Any], alt: str, caption: str, size: tuple, wide: bool = True
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
    address = "data:image/svg+xml;base64," + b64encode(svg.getvalue()).decode()
    return Figure(name, alt, caption, address, png.getvalue(), wide)


def _is_text(cells: pd.DataFrame) -> list[bool]:
    """Return for each column whether no cell starts with a digit."""
    return [not cells[name].str[:1].str.isdigit().any() for name in cells]


def _escaped(text: str) -> str:
    """Return text in which nothing is read as Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>|~#&$])", r"\\\1", " ".join(text.split()))
