"""Rows of results files, and readers of the pages made of them."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from xml.etree import ElementTree

from dsn_sktime.benchmarking.run import results


def row(dataset="Beef", estimator="dsn", seed=0, accuracy=0.8, **more):
    """Return a row of a results file; without an accuracy the run failed."""
    n_epochs = more.get("n_epochs", 100)
    scores = dict.fromkeys(
        ("balanced_accuracy", "f1_macro", "log_loss", "calibration_error", "auroc"), accuracy
    )
    values = {
        "dataset": dataset,
        "estimator": estimator,
        "seed": seed,
        "split": "default",
        "parameters": json.dumps({"n_epochs": n_epochs, "random_state": seed}),
        "job": f"{hash((dataset, estimator, seed, accuracy, *map(str, more.items()))):x}",
        "status": "ok" if accuracy is not None else "failed",
        "error": "" if accuracy is not None else "RuntimeError: out of memory",
        "accuracy": accuracy,
        **scores,
        "fit_seconds": 20.0,
        "predict_seconds": 0.5,
        "n_epochs": n_epochs,
        "n_parameters": 1000 if estimator == "dsn" else None,
        "multiply_adds": 50000 if estimator == "dsn" else None,
        "peak_memory_mb": 300.0,
        "n_train": 30,
        "n_test": 100,
        "n_variates": 1,
        "series_length": 50,
        "n_classes": 2,
        "n_jobs": 1,
        "versions": json.dumps({"dsn_sktime": "0.1.0"}),
        "host": "some processor, 2 cores",
        "started": "2026-11-25T10:00:00Z",
    }
    return values | more


def write(path, rows):
    """Write a results file without the records it was made of."""
    for second, one in enumerate(rows):
        started = f"2026-11-25T10:{second // 60:02}:{second % 60:02}Z"
        results.write(path, {**one, "started": started})
    results.export(path)
    shutil.rmtree(results.folder_of(path))
    return path


class Reader(HTMLParser):
    """Collect tables as lists of rows, pictures and texts of captions."""

    def __init__(self, html):
        super().__init__()
        self.tables, self.images, self.captions, self.outside = [], [], [], []
        self.into = None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.outside += [attributes[k] for k in ("src", "href") if attributes.get(k)]
        if tag == "style":
            self.into = None
        elif tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.into = self.tables[-1][-1]
            self.into.append("")
        elif tag == "figcaption":
            self.into = self.captions
            self.into.append("")
        elif tag == "img":
            self.images.append(attributes)

    def handle_endtag(self, tag):
        if tag in ("td", "th", "figcaption"):
            self.into = None

    def handle_data(self, data):
        if self.into is not None:
            self.into[-1] += data

    def table(self, *header):
        return next(rows for rows in self.tables if rows[0][: len(header)] == list(header))


def check_whole(html):
    """Assert that no cell, caption or picture is empty and nothing comes from elsewhere."""
    page = Reader(html)
    assert page.tables
    for rows in page.tables:
        assert len({len(cells) for cells in rows}) == 1
        assert len(rows) > 1
        assert all(cell.strip() for cells in rows for cell in cells)
    assert len(page.captions) == len(page.images)
    assert all(caption.strip() for caption in page.captions)
    for image in page.images:
        assert len(image["alt"]) > 20
        svg = ElementTree.fromstring(base64.b64decode(image["src"].partition("base64,")[2]))
        assert len(list(svg.iter("{http://www.w3.org/2000/svg}path"))) > 5
    assert all(address.startswith(("#", "data:image/svg+xml;base64,")) for address in page.outside)
    assert not re.search(r"\bnan\b|<NA>|\bNone\b|\{\{|\}\}", re.sub('base64,[^"]*', "", html))
    return page
