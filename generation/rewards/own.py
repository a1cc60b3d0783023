"""Rewards of the user's own: `package.module:name`."""

from collections.abc import Callable

from generation.encoders.encoder import ImageEncoder
from generation.gallery import Gallery
from generation.plugins import call_named, import_named
from generation.reward import Reward
from generation.rewards.choice import BUILT_IN


def load_reward(name: str, encoder: ImageEncoder, gallery: Gallery) -> Reward:
    """Build the reward of ``package.module:name``, a function or class that is called with ``(encoder, gallery)``.

    Args:
        name: as it was typed.
        encoder: the dual encoder, whose ``encode_images`` and ``encode_texts`` give unit vectors in one space.
        gallery: the catalogue as the generator sees it.

    Raises:
        ValueError: the name cannot be imported or called so, or what it returns is no reward.
    """
    factory: Callable[[ImageEncoder, Gallery], Reward] = import_named("reward", name, BUILT_IN)
    reward = call_named("a reward", name, "(encoder, gallery)", lambda: factory(encoder, gallery))
    if not callable(reward):
        raise ValueError(
            f"{name} gave {type(reward).__name__}, no reward: called with (encoder, gallery) it must give back "
            "something that takes (requests, images)"
        )
    return reward
