"""What a config cannot give, said before anything is trained for it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ragar_rec.config.config import Config
from ragar_rec.config.recbole_values import sampled_modes
from recsys.recbole.keys import DEFAULTS

logger = logging.getLogger(__name__)


def note_missing_gpu(config: Config) -> None:
    """Say that a GPU that the config asks for is not there; RecBole takes the CPU without a word."""
    if not config.recbole.get("use_gpu"):
        return
    # Imported late: most configs ask for no GPU, and torch takes its seconds.
    import torch

    if not torch.cuda.is_available():
        logger.warning(
            "use_gpu is true, but this machine, or this build of torch, has no GPU: the CPU trains the ranker"
        )


def check_sampling(config: Config) -> None:
    """Refuse metrics that rank a held-out item among a few sampled ones.

    Raises:
        ValueError: ``eval_args.mode`` asks for them.
    """
    if sampled := sampled_modes(config.recbole):
        raise ValueError(
            f"eval_args.mode {', '.join(sampled)} ranks a held-out item among a few sampled ones, where every "
            "ranker looks good; the tables of results rank among all items: write --eval_args.mode=full. "
            "`train-ranker` takes it, and says so beside every metric"
        )


def check_list_lengths(config: Config, n_items: int) -> None:
    """Refuse lists longer than the catalogue.

    Raises:
        ValueError: ``topk``, ``evaluation.k`` or ``evaluation.candidates`` is above the number of items.
    """
    topk = config.recbole.get("topk", DEFAULTS["topk"])
    longest = max(topk) if isinstance(topk, Sequence) else topk
    settings = config.evaluation
    lengths = {"topk": longest, "evaluation.k": settings.k, "evaluation.candidates": settings.candidates}
    for name, length in lengths.items():
        if length > n_items:
            raise ValueError(f"{name} asks for lists of {length}, but there are {n_items} items")
