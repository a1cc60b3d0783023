"""The notebook of the documentation runs, cell after cell, and has what its page promises."""

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Execute a cell as Jupyter does; returns the value of its last line if that is an expression, else None."""
    tree = ast.parse(source)
    last = tree.body[-1]
    body = tree.body[:-1] if isinstance(last, ast.Expr) else tree.body
    exec(compile(ast.Module(body, []), "<cell>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if isinstance(last, ast.Expr) else None  # noqa: S307


def test_the_notebook_runs_from_history_to_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(DOCS))
    cells = json.loads((DOCS / "quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        shown = [run_cell("".join(cell["source"]), names) for cell in cells if cell["cell_type"] == "code"]
    history, sheet, table = [value for value in shown if value is not None]
    assert all(" ellipse " in title or " rectangle " in title for title in history)
    assert sheet.size == (330, 240)
    assert set(table.metric) == {"recall@5", "ndcg@5", "delta_r", "delta_r_median"}
    # Every printed weight is of a retrieved item; three items are retrieved.
    weights = [float(line.split()[0]) for line in printed.getvalue().splitlines() if line[:2] in ("0.", "1.")]
    assert len(weights) == 3
    assert sum(weights) == pytest.approx(1, abs=0.02)
    assert "with its own picture" in printed.getvalue()
