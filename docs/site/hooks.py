"""What mkdocs adds while it builds: the config's keys, the glossary, the notebook; Sphinx roles are removed."""

from __future__ import annotations

import html
import inspect
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ragar_rec.config.config import sections
from ragar_rec.config.reference import Key, recbole_keys, section_keys
from ragar_rec.report.glossary import GLOSSARY

DOCS = Path(__file__).parent.parent


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace each marker ``<!-- keys -->`` by what it names."""
    return re.sub(r"<!-- (\w+) -->", lambda match: GENERATED[match[1]](), markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Remove the Sphinx roles of docstrings: ``:func:`~a.b``` reads as code."""
    return re.sub(r":\w+:<code>~?", "<code>", content)


def keys() -> str:
    """A table of keys for RecBole and for each of our sections."""
    return "\n\n".join(
        [
            _key_table(
                "RecBole's keys",
                "At the top level of the file. RecBole has more, all of which are accepted.",
                recbole_keys(),
            ),
            *(_key_table(f"`{name}`", _summary(kind), section_keys(name)) for name, kind in sections().items()),
        ]
    )


def _summary(section: type) -> str:
    """The first paragraph of a section's docstring, as Markdown."""
    return (inspect.getdoc(section) or "").partition("\n\n")[0].replace("``", "`")


def _key_table(title: str, sentence: str, rows: list[Key]) -> str:
    lines = [
        f"| `{key.name}` | `{_cell(key.default)}` | {_cell(key.accepts)} | {_cell(key.sentence)} |" for key in rows
    ]
    return "\n".join(
        [f"## {title}", "", sentence, "", "| key | default | accepts | what it does |", "|---|---|---|---|", *lines]
    )


def _cell(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "\\|")


def glossary() -> str:
    """The report's terms with their definitions."""
    return "\n".join(
        ["| term | meaning |", "|---|---|", *(f"| **{term.name}** | {_cell(term.definition)} |" for term in GLOSSARY)]
    )


def notebook() -> str:
    """The cells of quickstart.ipynb: text, code, and the outputs that are kept in it."""
    cells = json.loads((DOCS / "quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(_cell_markdown(cell) for cell in cells)


def _cell_markdown(cell: Mapping[str, Any]) -> str:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return text
    return "\n\n".join([f"```python\n{text}\n```", *map(_output, cell["outputs"])])


def _output(output: Mapping[str, Any]) -> str:
    """A picture, a table, or text."""
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    text = "".join(data.get("text/plain", output.get("text", "")))
    return f"```text\n{text.rstrip()}\n```"


GENERATED: Mapping[str, Callable[[], str]] = {"keys": keys, "glossary": glossary, "notebook": notebook}
"""Marker in a page -> what makes the text in its place."""
