"""A training in a process of its own, and whether its epochs sufficed."""

import pytest

from ragar_rec.studies.training_process import cut_short


@pytest.mark.parametrize(("last", "best", "cautions"), [(60, 55, []), (60, 56, ["best epoch 56 of 60"]), (58, 56, [])])
def test_a_training_that_stopped_by_itself_was_not_cut_short(last: int, best: int, cautions: list[str]) -> None:
    """Of 60 epochs, validated every 4: after 56 another validation was still to come, or patience ended it before."""
    state = {"epoch": last, "best_epoch": best, "identity": {"settings": {"epochs": 60, "eval_step": 4}}}
    assert cut_short([state, state]) == cautions
