"""Sphinx configuration: ``python -m sphinx -W --keep-going -b html docs docs/_build/html``."""

import os

# Pictures and tables are drawn on one core, so a build takes the same few threads anywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The output of the examples would hold every state of a progress bar.
os.environ["TQDM_DISABLE"] = "1"

from sphinx_gallery.sorting import ExplicitOrder

import dsn_sktime

project = "dsn_sktime"
author = "dsn_sktime developers"
copyright = author
version = release = dsn_sktime.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # After mathjax: its files instead of those of a CDN.
    "numpydoc",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "code"

autosummary_generate = True
autodoc_typehints = "none"  # The docstrings state them, with shapes.
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False  # The template of a class lists its methods.

# The guide trains a small network once per build, in the page's first plot directive.
plot_formats = [("png", 110)]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_rcparams = {"font.size": 9, "figure.facecolor": "white", "savefig.bbox": "tight"}
plot_apply_rcparams = True

# The order in which people need them. `-D plot_gallery=0` builds the pages without running them.
EXAMPLES = [
    "quickstart.py",
    "sensors.py",
    "unequal_lengths.py",
    "tuning.py",
    "calibration.py",
    "resuming.py",
    "explaining.py",
    "learned.py",
    "embeddings.py",
    "saving.py",
    "regression.py",
    "benchmarking.py",
]
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"deploying\.py",  # A measurement of minutes.
    "within_subsection_order": ExplicitOrder(EXAMPLES),
    "capture_repr": ("_repr_html_",),
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 3600,  # Seconds of the machine that builds would mean little.
    "download_all_examples": False,
    "abort_on_example_error": True,
}

html_theme = "pydata_sphinx_theme"
html_title = "dsn_sktime"
html_static_path = ["_static"]
html_css_files = ["dsn_sktime.css"]
# These pages have no pages below them to list.
html_sidebars = {page: [] for page in ("index", "installation", "quickstart")}
html_show_sourcelink = False
html_theme_options = {
    "header_links_before_dropdown": 6,
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": {"**": ["page-toc"], "index": [], "guide/differences": []},
    "footer_start": [],
    "footer_end": ["sphinx-version"],
}
