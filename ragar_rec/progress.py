"""Progress bars where nobody watches: a line a minute in a log, in place of a carriage return at every step."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partialmethod
from typing import Any

from tqdm.std import tqdm

SECONDS = 60
"""From one line of a bar to the next; a bar that ends sooner writes none."""


class _Lines:
    """A text stream that turns what tqdm draws, in place and behind a carriage return, into lines."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        if drawn := text.strip():
            self.stream.write(f"{drawn}\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def lines_where_no_terminal() -> Iterator[None]:
    """Make every bar of tqdm, other libraries' too, write a line a minute while the block runs.

    Nothing changes where stderr is a terminal.
    """
    if sys.stderr.isatty():
        yield
        return
    original = vars(tqdm)["__init__"]
    defaults = {"file": _Lines(sys.stderr), "mininterval": SECONDS, "delay": SECONDS, "ascii": True, "ncols": 100}
    tqdm.__init__ = partialmethod(original, **defaults)  # type: ignore[method-assign]
    try:
        yield
    finally:
        tqdm.__init__ = original  # type: ignore[method-assign]
