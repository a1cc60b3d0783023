"""Bars in a log: lines, one a minute, and no carriage return."""

import io
import sys

import pytest
from tqdm.auto import tqdm as auto
from tqdm.std import tqdm

from ragar_rec.progress import lines_where_no_terminal


class Log(io.StringIO):
    def isatty(self) -> bool:
        return False


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that tqdm reads, in seconds; the test moves it."""
    now = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # no thread that looks at the real clock
    return now


@pytest.mark.parametrize("kind", [tqdm, auto])
def test_a_bar_in_a_log_is_a_line_a_minute(clock: list[float], monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    """300 steps of a second: lines at 60, 120, 180, 240 and 300 s, within a step, the last when it ends."""
    log = Log()
    monkeypatch.setattr(sys, "stderr", log)
    with lines_where_no_terminal():
        for _ in kind(range(300), desc="UNet"):
            clock[0] += 1
    assert "\r" not in log.getvalue()
    lines = log.getvalue().splitlines()
    assert 4 <= len(lines) <= 6
    assert all(line.startswith("UNet: ") for line in lines)
    assert "300/300" in lines[-1]


def test_a_bar_of_a_few_seconds_writes_nothing(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(sys, "stderr", log)
    with lines_where_no_terminal():
        for _ in tqdm(range(30)):
            clock[0] += 1
    assert log.getvalue() == ""


def test_a_terminal_keeps_its_bars_and_everything_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    original, terminal = vars(tqdm)["__init__"], Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with lines_where_no_terminal():
        assert vars(tqdm)["__init__"] is original
        list(tqdm(range(3)))
    assert "\r" in terminal.getvalue()
    monkeypatch.setattr(sys, "stderr", Log())
    with lines_where_no_terminal():
        assert vars(tqdm)["__init__"] is not original
    assert vars(tqdm)["__init__"] is original
