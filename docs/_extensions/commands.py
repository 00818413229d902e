"""`{help} run`: what `bench run --help` prints. `{exit-codes}`: the codes with what they mean."""

import os
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from bench import cli

WIDTH = "88"


class Help(Directive):
    """The help of one command, word for word."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """One literal block."""
        return [_literal(text(self.arguments[0]))]


class ExitCodes(Directive):
    """One line for each exit code."""

    def run(self) -> list[nodes.Node]:
        """A list, in the order of the codes."""
        items = nodes.bullet_list()
        for code, meaning in cli.EXIT_CODES.items():
            line = nodes.paragraph("", "", nodes.literal(text=str(code)), nodes.Text(f" {meaning}"))
            items += nodes.list_item("", line)
        return [items]


def text(command: str) -> str:
    """What `bench COMMAND --help` prints on a terminal of `WIDTH` columns."""
    os.environ["COLUMNS"] = WIDTH
    return cli.parsers([command])[1][command].format_help()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("help", Help)
    app.add_directive("exit-codes", ExitCodes)
    return {"parallel_read_safe": True}


def _literal(shown: str) -> nodes.literal_block:
    block = nodes.literal_block(shown, shown)
    block["language"] = "text"
    return block
