"""A page of tables and figures, written as one HTML file that needs no other."""

import io
from base64 import b64encode
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import pandas as pd

MISSING = "\N{EN DASH}"
_NEEDED = ("jinja2", "matplotlib", "networkx", "scikit_posthocs")
# Without the salt, and without a date, the same numbers would give other bytes every time.
_STYLE: dict[Any, Any] = {"font.size": 9, "svg.hashsalt": "dsn_sktime"}

_TEXT: Any = [{"selector": "", "props": "text-align: left; white-space: normal; min-width: 9rem"}]


class Table(NamedTuple):
    """A data frame whose index names the rows, and formats of its columns, as of Styler.

    ``best`` marks cells to stress.
    """

    caption: str
    frame: pd.DataFrame
    formats: dict[str, Any] = {}
    best: pd.DataFrame | None = None

    def html(self, identifier: str) -> str:
        """Return the table as HTML whose headers are buttons."""
        cells = self.frame.reset_index()
        formats = {name: form for name, form in self.formats.items() if name in cells}
        formats[cells.columns[0]] = _marked
        styler = cells.style.hide(axis="index").format(formats, na_rep=MISSING, escape="html")
        styler.format_index(_button, escape="html", axis=1)
        is_text = [name for name in cells if not cells[name].astype(str).str.match(r"\d").any()]
        styler.set_table_styles(dict.fromkeys(is_text, _TEXT))
        if self.best is not None:
            best = self.best.map(lambda is_best: "best" if is_best else "")
            styler.set_td_classes(best.set_axis(cells.index))
        return styler.to_html(table_uuid=identifier)


class Figure(NamedTuple):
    """A picture as address, and how to read it."""

    name: str
    caption: str
    address: str
    wide: bool


class Section(NamedTuple):
    """Paragraphs, then figures, then tables, under a title."""

    title: str
    paragraphs: list[str]
    figures: list[Figure]
    tables: list[Table]


class Page(NamedTuple):
    """Sections under a title."""

    title: str
    paragraphs: list[str]
    sections: list[Section]

    def html(self) -> str:
        """Return the page as HTML that needs no other file."""
        import jinja2

        loader = jinja2.PackageLoader("dsn_sktime.benchmarking.report", "")
        environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True)
        return environment.get_template("page.html").render(page=self)


def check_installed() -> None:
    """Raise ModuleNotFoundError if a package is missing that pages are made with."""
    missing = ", ".join(name for name in _NEEDED if find_spec(name) is None)
    if missing:
        raise ModuleNotFoundError(f"pages need {missing}: pip install dsn-sktime[benchmarks]")


def draw(
    name: str, plot: Callable[..., Any], caption: str, size: tuple, wide: bool = True
) -> Figure:
    """Draw on axes of ``size`` inches as SVG, without pyplot and its settings."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=size, layout="constrained")
        plot(canvas.add_subplot())
        svg = io.BytesIO()
        canvas.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    address = "data:image/svg+xml;base64," + b64encode(svg.getvalue()).decode()
    return Figure(name, caption, address, wide)


def _marked(name: str) -> str:
    """Return a name in HTML, in italics if it is that of a published classifier."""
    return f"<i>{name}</i>" if "(published" in name else name


def _button(name: str) -> str:
    return f'<button type="button">{_marked(name)}</button>'
