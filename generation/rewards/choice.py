"""Checks the config's choice of rewards."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from generation.plugins import import_named

BUILT_IN = ("ranker", "relevance", "aesthetic")
"""Built-in rewards, which a config names by one word; any other is ``package.module:name``."""
PersonalForm = Literal["difference", "rank"]
"""How a personal reward compares a user's score with other users': see :class:`generation.rewards.Personal`."""


def reward_conflicts(rewards: Mapping[str, float], head: str | None) -> Iterator[str]:
    """Mistakes in the config's fields ``rewards`` and ``aesthetic_head``, each as a sentence."""
    if not rewards:
        yield "rewards {} must name at least one, such as {ranker: 1.0}"
    for name in rewards:
        try:
            _ = name in BUILT_IN or import_named("reward", name, BUILT_IN)
        except ValueError as error:
            yield str(error)
    if head is not None and "aesthetic" not in rewards:
        yield f"aesthetic_head {head} is read where rewards name aesthetic alone"
    elif head is not None and not Path(head).is_file():
        yield missing_head(f"at {head}")
    elif "aesthetic" in rewards and head is None:
        yield missing_head("(aesthetic_head) for the reward aesthetic")


def missing_head(where: str) -> str:
    """Error message for a missing file of :class:`Aesthetic`."""
    return (
        f"no aesthetic head {where}: for CLIP ViT-L/14 take sa_0_4_vit_l_14_linear.pth from "
        "github.com/LAION-AI/aesthetic-predictor and save its weight and bias as safetensors (docs/ragar.md says how)"
    )
