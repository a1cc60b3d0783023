"""Tables of planted shops: true gains, their personal part, and their share of what the best pictures would gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from ragar_rec.evaluation.verdict import Verdict
from ragar_rec.studies.markdown import interval_text, markdown_table
from recsys.scoring.statistics import interval

PHOTOS = "photos"
"""The system that shows the items' own pictures."""
TITLES = (
    "pictures",
    "true gain of NDCG",
    "of the oracle's",
    "personal part",
    "clicks among those shown",
    "liking",
    "ranker's score",
)

FORMS = {"ndcg": "+.4f", "personal": "+.4f", "clicks": "+.3f", "liking": "+.2f", "score": "+.2f"}
"""Of the numbers, in the order of their columns."""


def gains(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For each system a row for each person: what its own pictures gain over the photos.

    Args:
        frame: columns ``seed``, ``person``, ``system``, ``owner`` (``own`` or ``stranger``), ``ndcg``, ``clicks``,
            ``liking`` and ``score``.

    Returns:
        By system, in the order of the frame: ``ndcg`` and ``clicks``, own less photos; ``personal``, the NDCG of the
        own pictures less that of a stranger's; ``liking`` and ``score``, of the own pictures.
    """
    keys, found = ["seed", "person"], {}
    photos = frame.query("system == @PHOTOS").set_index(keys)
    for system, rows in frame.query("system != @PHOTOS").groupby("system", sort=False):
        own, stranger = (rows.query("owner == @owner").set_index(keys) for owner in ("own", "stranger"))
        gain = own[["ndcg", "clicks"]] - photos[["ndcg", "clicks"]]
        found[str(system)] = gain.assign(
            personal=own["ndcg"] - stranger["ndcg"], liking=own["liking"], score=own["score"]
        )
    return found


def gains_table(frame: pd.DataFrame, oracle: str) -> str:
    """Markdown: a row for each system with intervals over people, all seeds together; the photos first.

    Args:
        frame: see :func:`gains`.
        oracle: the system whose gain is the whole of which shares are given.
    """
    found = gains(frame)
    photos = frame.query("system == @PHOTOS")
    rows = [[f"{PHOTOS}: NDCG {photos['ndcg'].mean():.4f}", "", "", "", f"{photos['clicks'].mean():.3f}", "", ""]]
    for system, people in found.items():
        share = "" if system == oracle else share_text(people["ndcg"].to_numpy(), found[oracle]["ndcg"].to_numpy())
        cells = [_cell(people[name].to_numpy(), form) for name, form in FORMS.items()]
        rows.append([system, cells[0], share, *cells[1:]])
    return markdown_table(TITLES, rows)


def share_text(gain: Float[np.ndarray, " n"], whole: Float[np.ndarray, " n"]) -> str:
    """Ratio of two means over the same people with its bootstrap interval, ``47 % [41 %, 53 %]``."""
    ratio = float(gain.mean() / whole.mean())
    if len(gain) < 2:
        return f"{ratio:.0%}"

    def of_means(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        return a.mean(axis) / b.mean(axis)

    rng = np.random.default_rng(0)
    found = stats.bootstrap(
        (gain, whole), of_means, paired=True, vectorized=True, n_resamples=2000, method="percentile", random_state=rng
    )
    low, high = found.confidence_interval
    return f"{ratio:.0%} [{low:.0%}, {high:.0%}]"


def verdicts_table(verdicts: Sequence[Mapping[str, Verdict]]) -> str:
    """Markdown: a row for each seed, its number and the rule by each source of evidence.

    Args:
        verdicts: for each seed, by the source's name.
    """
    names = list(verdicts[0])
    lines = [[str(seed), *(found[name].rule for name in names)] for seed, found in enumerate(verdicts)]
    return markdown_table(["seed", *names], lines)


def _cell(values: Float[np.ndarray, " n"], form: str) -> str:
    return interval_text(asdict(interval(values)), form)
