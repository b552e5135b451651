"""A page of tables and figures, written as one HTML file and as Markdown with images."""

import io
import re
from base64 import b64encode
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

_NEEDED = ("jinja2", "matplotlib", "scikit_posthocs")
# With a salt and no date the same numbers give the same bytes; names are no formulas.
_STYLE: dict[Any, Any] = {"font.size": 9, "svg.hashsalt": "dsn_sktime", "text.parse_math": False}


class Table(NamedTuple):
    """Cells of text, the first column naming the rows; ``best`` marks cells to stress."""

    caption: str
    cells: pd.DataFrame
    best: np.ndarray | None = None

    @property
    def is_text(self) -> list[bool]:
        """Whether a column is the first or has no cell that starts with a digit."""
        found = [not self.cells[name].str[:1].str.isdigit().any() for name in self.cells]
        return [True, *found[1:]]

    def markdown(self) -> str:
        """Return the table as Markdown."""
        texts = self.cells.map(_escaped)
        if self.best is not None:
            texts = texts.mask(self.best, "**" + texts + "**")
        rules = np.where(self.is_text, "---", "---:")
        rows = map(_escaped, self.cells), rules, *texts.to_numpy()
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


class Figure(NamedTuple):
    """A picture as address and as PNG, and how to read it; a wide one has a line of its own."""

    name: str
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
    """Sections under a title."""

    title: str
    paragraphs: list[str]
    sections: list[Section]

    def write(self, path: Path) -> None:
        """Write ``path.html``, which needs no other file, and ``path.md`` with ``figures``."""
        import jinja2

        source = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
        text = jinja2.Template(source, autoescape=True, trim_blocks=True).render(page=self)
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
                caption = _escaped(figure.caption)
                lines += [f"![{figure.name}](figures/{figure.name}.png)", caption]
            for table in section.tables:
                lines += [_escaped(table.caption), table.markdown()]
        return "\n\n".join(lines) + "\n"


def check_installed() -> None:
    """Raise ModuleNotFoundError if a package is missing that pages are made with."""
    if missing := ", ".join(name for name in _NEEDED if find_spec(name) is None):
        raise ModuleNotFoundError(f"pages need {missing}: pip install dsn-sktime[benchmarks]")


def draw(name: str, plot: Callable, caption: str, size: tuple[float, float]) -> Figure:
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
    return Figure(name, caption, address, png.getvalue(), size[0] > 5)


def _escaped(text: str) -> str:
    """Return text in which nothing is read as Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>|~#&$])", r"\\\1", " ".join(text.split()))
