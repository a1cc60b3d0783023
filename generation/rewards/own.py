"""Rewards of your own: `package.module:name`."""

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from generation.encoders.encoder import ImageEncoder
from generation.gallery import Gallery
from generation.reward import Reward

OURS = ("ranker", "relevance", "aesthetic")
"""Rewards that a config names by one word; any other is ``package.module:name``."""


def own_reward(name: str, encoder: ImageEncoder, gallery: Gallery) -> Reward:
    """The reward of ``package.module:name``, a function or class that is called with ``(encoder, gallery)``.

    Args:
        name: as it was typed.
        encoder: the dual encoder: pictures by ``encode_images`` and words by ``encode_texts`` to unit vectors.
        gallery: the catalogue as the generator sees it.

    Raises:
        ValueError: there is no such thing, it cannot be called so, or what it gives back is no reward.
    """
    make = named(name)
    try:
        made = make(encoder, gallery)
    except Exception as error:
        raise ValueError(
            f"{name} is called with (encoder, gallery) and must give back a reward, but there it raised "
            f"{type(error).__name__}: {error}"
        ) from error
    if not callable(made):
        raise ValueError(
            f"{name} gave {type(made).__name__}, no reward: called with (encoder, gallery) it must give back something "
            "that takes (requests, images)"
        )
    return made


def named(name: str) -> Callable[[ImageEncoder, Gallery], Reward]:
    """What ``package.module:name`` stands for.

    Raises:
        ValueError: it is not written so, cannot be imported, or is not there.
    """
    module, colon, attribute = name.partition(":")
    if not (colon and attribute and module) or module.startswith("."):
        near = get_close_matches(name, OURS, n=1)
        hint = f"do you mean {near[0]}?" if near else f"there are {', '.join(OURS)} and package.module:name of your own"
        raise ValueError(f"there is no reward {name!r}: {hint}")
    try:
        found = import_module(module)
    except ImportError as error:
        hint = "install it, or put its folder on PYTHONPATH"
        raise ValueError(f"the reward {name!r} cannot be imported ({error}): {hint}") from error
    except Exception as error:
        raise ValueError(
            f"the reward {name!r} cannot be imported: {module} raised {type(error).__name__}: {error}"
        ) from error
    try:
        return getattr(found, attribute)
    except AttributeError as error:
        raise ValueError(f"the reward {name!r} is not there: {error}") from error


def code_of(name: str) -> Path | None:
    """The file of the module in ``package.module:name``, if it has one: another text makes another reward."""
    file = getattr(import_module(name.partition(":")[0]), "__file__", None)
    return None if file is None else Path(file)
