"""Settings of the documentation site; `tox -e docs` builds it and fails on any warning."""

from __future__ import annotations

project = "pytest-repro"
author = "The pytest-repro authors"
copyright = author  # noqa: A001  the name that Sphinx reads

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["measure", "ci", "images", "_build"]
nitpicky = True
myst_heading_anchors = 3
myst_enable_extensions = ["html_image"]
# Blocks of the pages carry words after the language that tests/docs reads; outputs are no code.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = "pytest-repro"
html_extra_path = ["report.schema.json"]
