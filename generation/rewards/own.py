"""Rewards of the user's own: `package.module:name`."""

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from generation.encoders.encoder import ImageEncoder
from generation.gallery import Gallery
from generation.reward import Reward

BUILT_IN = ("ranker", "relevance", "aesthetic")
"""Built-in rewards, which a config names by one word; any other is ``package.module:name``."""


def load_reward(name: str, encoder: ImageEncoder, gallery: Gallery) -> Reward:
    """Build the reward of ``package.module:name``, a function or class that is called with ``(encoder, gallery)``.

    Args:
        name: as it was typed.
        encoder: the dual encoder, whose ``encode_images`` and ``encode_texts`` give unit vectors in one space.
        gallery: the catalogue as the generator sees it.

    Raises:
        ValueError: the name cannot be imported or called so, or what it returns is no reward.
    """
    factory = import_reward(name)
    try:
        reward = factory(encoder, gallery)
    except Exception as error:  # the user's code may raise anything
        raise ValueError(
            f"{name} is called with (encoder, gallery) and must give back a reward, but there it raised "
            f"{type(error).__name__}: {error}"
        ) from error
    if not callable(reward):
        raise ValueError(
            f"{name} gave {type(reward).__name__}, no reward: called with (encoder, gallery) it must give back "
            "something that takes (requests, images)"
        )
    return reward


def import_reward(name: str) -> Callable[[ImageEncoder, Gallery], Reward]:
    """Import the function or class that ``package.module:name`` names.

    Raises:
        ValueError: the name has another form, its module cannot be imported, or has no such attribute.
    """
    module, colon, attribute = name.partition(":")
    if not (colon and attribute and module) or module.startswith("."):
        near = get_close_matches(name, BUILT_IN, n=1)
        hint = (
            f"do you mean {near[0]}?"
            if near
            else f"there are {', '.join(BUILT_IN)} and package.module:name of your own"
        )
        raise ValueError(f"there is no reward {name!r}: {hint}")
    try:
        imported = import_module(module)
    except ImportError as error:
        hint = "install it, or put its folder on PYTHONPATH"
        raise ValueError(f"the reward {name!r} cannot be imported ({error}): {hint}") from error
    except Exception as error:  # the module's own code runs while it is imported
        raise ValueError(
            f"the reward {name!r} cannot be imported: {module} raised {type(error).__name__}: {error}"
        ) from error
    try:
        return getattr(imported, attribute)
    except AttributeError as error:
        raise ValueError(f"the reward {name!r} is not there: {error}") from error


def code_of(name: str) -> Path | None:
    """Source file of the module in ``package.module:name``, if it has one: a changed file is another reward."""
    file = getattr(import_module(name.partition(":")[0]), "__file__", None)
    return None if file is None else Path(file)
