"""Clicks by a known model: Plackett-Luce choice, drawn by the Gumbel trick, and its exact or averaged probabilities."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

DRAWS = 16
"""Sequences of clicks over which :func:`inclusion` averages."""


def click_probabilities(utility: Float[np.ndarray, "people items"]) -> Float[np.ndarray, "people items"]:
    """Probability that each item is a person's next click: the softmax of utilities, 0 where the utility is -inf.

    It is the multinomial logit: the item of largest utility plus Gumbel noise is clicked (McFadden 1974).
    """
    weights = np.exp(utility - utility.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def draw_clicks(
    utility: Float[np.ndarray, "people items"], n: int, rng: np.random.Generator
) -> Int[np.ndarray, "people n"]:
    """The next ``n`` clicks of each person in their order, no item twice.

    The n largest of utility plus Gumbel noise are n draws without replacement, each by :func:`click_probabilities` of
    the items that are left (Plackett-Luce; Kool et al. 2019).
    """
    noisy = utility + rng.gumbel(size=utility.shape)
    first = np.argpartition(-noisy, n - 1, axis=1)[:, :n]
    order = np.argsort(-np.take_along_axis(noisy, first, axis=1), axis=1)
    return np.take_along_axis(first, order, axis=1)


def inclusion(
    utility: Float[np.ndarray, "people items"], n: int, rng: np.random.Generator, *, draws: int = DRAWS
) -> Float[np.ndarray, "people items"]:
    """Probability that each item is among a person's next ``n`` clicks; rows sum to n.

    The probability of the m-th click given the first m - 1 is known and is averaged over drawn beginnings, which is
    exact for n = 1 and has less variance than counting what was drawn.
    """
    probability, people = click_probabilities(utility), np.arange(len(utility))[:, None]
    total = np.zeros_like(probability)
    # With one click there is no beginning to draw.
    for _ in range(draws if n > 1 else 1):
        clicked = draw_clicks(utility, n, rng)
        before = np.cumsum(probability[people, clicked], axis=1) - probability[people, clicked]
        scale = np.cumsum(1 / (1 - before), axis=1)  # of an item that is left after m - 1 clicks, summed over m
        share = np.broadcast_to(scale[:, -1:], probability.shape).copy()
        share[people, clicked] = scale  # an item that was clicked is not there for later clicks
        total += probability * share
    return total / (draws if n > 1 else 1)
