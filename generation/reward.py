"""What reflection asks of a reward: how much would this user want this item if it looked like this?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from generation.checkpoint import read_tensors
from generation.encoders.dual import ImageEncoder
from generation.gallery import Gallery
from generation.request import Request

OURS = ("ranker", "relevance", "aesthetic")
"""Rewards that a config names by one word; any other is ``package.module:name``."""


@runtime_checkable
class Reward(Protocol):
    """Scores pictures (eq. 10). Comparable within a user only; one unit is one standard deviation of her scores.

    Any callable of this form will do: a ranker, a relevance, an aesthetic predictor. For the objective ``path`` its
    scores must carry the gradient of the pictures.
    """

    def __call__(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        """One score a picture, each for the request in the same place."""
        ...


def scored(
    reward: Reward, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]
) -> Float[Tensor, " n"]:
    """The reward's answer as it is.

    Raises:
        ValueError: it is not one number a picture, or holds infinities or NaN, which would spoil every weight.
    """
    scores = reward(requests, images)
    if scores.shape != (len(images),):
        raise ValueError(
            f"the reward gave shape {tuple(scores.shape)}, it must give one number a picture: ({len(images)},)"
        )
    if bad := int((~torch.isfinite(scores)).sum()):
        raise ValueError(f"the reward gave {bad} values that are not finite numbers")
    return scores


class Mixture:
    """Weighted sum of rewards; the weights are also the exchange rates of their units.

    Args:
        parts: (weight, reward), at least one; a negative weight punishes.

    Example:
        >>> reward = Mixture([(1.0, ranker), (2.0, Relevance(encoder, gallery, gallery.semantic))])
    """

    def __init__(self, parts: Sequence[tuple[float, Reward]]) -> None:
        if not parts:
            raise ValueError("a mixture of rewards needs at least one")
        self.parts = tuple(parts)

    def __call__(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        """sum_i w_i f_i, differentiable where the parts are."""
        weighted = [weight * scored(reward, requests, images).to(images) for weight, reward in self.parts]
        return torch.stack(weighted).sum(0)


class Relevance:
    """CLIP-type relevance: cosine of a picture with its request's reference in an encoder's space, in [-1, 1].

    What keeps a picture *of the item* while another reward pulls it towards the user's taste. Differentiable.

    Args:
        encoder: whose space it is.
        gallery: the items.
        wanted: a row for each item of the gallery: captions or pictures in that space (for the encoder that the
            gallery was made with: ``gallery.semantic`` or ``gallery.visual``).
    """

    def __init__(self, encoder: ImageEncoder, gallery: Gallery, wanted: Float[Tensor, "items dim"]) -> None:
        if wanted.shape != (len(gallery.ids), encoder.dim):
            raise ValueError(
                f"{encoder.name} gives {encoder.dim} features and the gallery has {len(gallery.ids)} items, but the "
                f"wanted features are {wanted.shape[0]} x {wanted.shape[1]}"
            )
        self.encoder, self.gallery, self.wanted = encoder, gallery, wanted

    def __call__(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        """One cosine a picture."""
        wanted = self.wanted[self.gallery.rows([request.reference for request in requests])]
        seen = self.encoder.encode_images(images)
        return F.cosine_similarity(seen, wanted.to(seen))


class Aesthetic:
    """How well people like such pictures, whatever they show: a linear head on an encoder's features. Differentiable.

    The score is w · f / ||f|| + b in the units of what the head was fitted to. LAION's aesthetic predictor reads the
    features of CLIP ViT-L/14 and gives about the mean rating from 1 to 10 (github.com/LAION-AI/aesthetic-predictor,
    ``sa_0_4_vit_l_14_linear.pth``, a pickle: docs/ragar.md says how to save it as safetensors).

    Args:
        encoder: whose features the head reads.
        weight: w, as ``nn.Linear(dim, 1)`` keeps it.
        bias: b, likewise.
    """

    def __init__(self, encoder: ImageEncoder, weight: Float[Tensor, "1 dim"], bias: Float[Tensor, " 1"]) -> None:
        if weight.shape[1] != encoder.dim:
            raise ValueError(
                f"the aesthetic head reads {weight.shape[1]} features a picture, {encoder.name} gives {encoder.dim}"
            )
        self.encoder, self.weight, self.bias = encoder, weight, bias

    @classmethod
    def from_file(cls, encoder: ImageEncoder, file: Path) -> "Aesthetic":
        """From a safetensors file with the keys ``weight`` (1, dim) and ``bias`` (1,).

        Raises:
            FileNotFoundError: it is not there; the sentence says how to get one.
            ValueError: it is pickled, does not read, or holds something else.
        """
        if not file.is_file():
            raise FileNotFoundError(no_head(f"at {file}"))
        head = {name: value.float() for name, value in read_tensors(file).items()}
        shapes = {name: tuple(value.shape) for name, value in head.items()}
        if set(shapes) != {"weight", "bias"} or shapes["bias"] != (1,) or shapes["weight"][:-1] != (1,):
            raise ValueError(f"{file} holds {shapes}, no linear head: that has a weight (1, dim) and a bias (1,)")
        return cls(encoder, **head)

    def __call__(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        """One score a picture; the requests do not matter."""
        seen = F.normalize(self.encoder.encode_images(images), dim=-1)
        return F.linear(seen, self.weight.to(seen), self.bias.to(seen))[:, 0]


def no_head(where: str) -> str:
    """What is said where the file of :class:`Aesthetic` is missing."""
    return (
        f"no aesthetic head {where}: for CLIP ViT-L/14 take sa_0_4_vit_l_14_linear.pth from "
        "github.com/LAION-AI/aesthetic-predictor and save its weight and bias as safetensors (docs/ragar.md says how)"
    )


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


def reward_conflicts(rewards: Mapping[str, float], head: str | None) -> Iterator[str]:
    """What is wrong with the config's fields ``rewards`` and ``aesthetic_head``, each as a sentence."""
    if not rewards:
        yield "rewards {} must name at least one, such as {ranker: 1.0}"
    for name in rewards:
        try:
            _ = name in OURS or named(name)
        except ValueError as error:
            yield str(error)
    if head is not None and "aesthetic" not in rewards:
        yield f"aesthetic_head {head} is read where rewards name aesthetic alone"
    elif head is not None and not Path(head).is_file():
        yield no_head(f"at {head}")
    elif "aesthetic" in rewards and head is None:
        yield no_head("(aesthetic_head) for the reward aesthetic")
