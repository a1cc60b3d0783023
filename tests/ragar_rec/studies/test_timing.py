"""Seconds on a clock that the tests turn."""

import time
from collections.abc import Callable

import pytest

from ragar_rec.studies.timing import seconds, stopwatch

Clock = Callable[[float], None]


@pytest.fixture
def advance(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Lets seconds pass."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def pass_by(taken: float) -> None:
        now[0] += taken

    return pass_by


def test_the_fastest_repetition_counts(advance: Clock) -> None:
    durations = iter([5.0, 2.0, 3.0])
    assert seconds(lambda: advance(next(durations)), 3) == 2


def test_the_stopwatch_counts_what_is_inside_and_puts_the_methods_back(advance: Clock) -> None:
    class Part:
        def work(self, taken: float) -> str:
            advance(taken)
            return "done"

    part = Part()
    with stopwatch({"part": [(part, "work")]}) as inside:
        assert part.work(5) == "done"
        advance(7)
        part.work(0.5)
    part.work(3)
    assert inside == {"part": 5.5}
    assert "work" not in vars(part)
