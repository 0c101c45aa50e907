"""Sphinx configuration."""

from importlib.metadata import version as installed

project = "Herald"
author = "Herald contributors"
copyright = "2026, Herald contributors"
version = release = installed("herald-trading")
extensions = ["myst_parser", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "generate.py"]
html_theme = "furo"
html_title = f"Herald {version}"
