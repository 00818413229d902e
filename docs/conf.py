"""How the documents are built: `make docs`. What is generated, and from what, is in `_extensions/`."""

import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]

project = "gat-bench"
author = "The gat-bench authors"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "mathml",  # equations without scripts and without a server far away
    "commands",
    "keys",
    "links",
    "pictures",
    "results",
]
exclude_patterns = ["_build", "_generated"]
templates_path = ["_templates"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_use_type_comments = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "gat-bench"
html_static_path = ["_static"]
html_css_files = ["documents.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False


def setup(app: Sphinx) -> None:
    """A page named `NAME.LANGUAGE.md` says its language, so that it is read aloud and hyphenated rightly."""
    app.connect("html-page-context", _tell_language)


def _tell_language(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    _, dot, language = page.rpartition("/")[2].partition(".")
    if dot:
        context["language"] = language
