"""Batches of one fixed shape, so that a picture depends on its request alone, to the last bit."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from generation.fixed_batches import padded_batches
from generation.ragar.preference import Description
from generation.ragar.ragar import Ragar
from generation.request import Request

ROWS = 16
"""Preferences, or texts, that are encoded at a time."""
TOKENS = 64
"""Prompts are padded to a multiple of this number of tokens."""
CACHE_SIZE = 512
"""Preferences, and encoded texts, that are cached for the requests that follow."""

Key = TypeVar("Key", bound=Hashable)


class FixedShape:
    """Generates what :meth:`Ragar.generate` does, up to rounding, independently of the other requests of a batch.

    How a sum over a batch is split, and so its last bit, depends on the batch's shape: on the number of rows and on the
    longest prompt among them. Here every network gets the same number of rows, the last one repeated where requests
    are missing, and prompts padded to a length that depends on their own alone. Two runs that divide the same requests
    into other batches, in another order or by several processes, make the same pictures, on one kind of machine and
    with one ``batch_size``.

    Each preference is encoded once for all its requests (seeds), each text (E_g) once for all users whose reference
    and keywords are the same: the last :data:`CACHE_SIZE` of each are cached, so equal ones should come close together.

    Examples:
        >>> pictures = FixedShape(ragar, batch_size=64).generate(requests)
    """

    def __init__(self, ragar: Ragar, batch_size: int = 64) -> None:
        """Wrap a generator.

        Args:
            ragar: draws the pictures. It must not be trained meanwhile: cached preferences would be out of date.
            batch_size: pictures that are drawn at a time: memory against speed.

        Raises:
            ValueError: ``batch_size`` is below 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.ragar, self.batch_size = ragar, batch_size
        self.preferences: dict[Hashable, Float[Tensor, "rows width"]] = {}
        self.texts: dict[str, Float[Tensor, "context width"]] = {}

    @torch.no_grad()
    def generate(self, requests: Sequence[Request]) -> Float[Tensor, "n 3 height width"]:
        """Draw one picture a request, in [0, 1]."""
        pictures = []
        for batch, padded in padded_batches(requests, self.batch_size):
            embeds = self.encode(batch)
            embeds = torch.cat([embeds, embeds[-1:].expand(len(padded) - len(batch), -1, -1)])
            pictures.append(self.ragar.render(embeds, padded)[: len(batch)])
        return torch.cat(pictures) if pictures else torch.empty(0, 3, *self.ragar.backbone.size)

    @torch.no_grad()
    def encode(self, requests: Sequence[Request]) -> Float[Tensor, "n rows width"]:
        """Encode P_gen of each request."""
        keys = [self._key(request) for request in requests]
        uncached = {key: request for key, request in zip(keys, requests, strict=True) if key not in self.preferences}
        preferences = {key: self.preferences[key] for key in keys if key in self.preferences}
        # One request at a time, because retrieval pads histories to the longest of the batch. It runs no network.
        described = {key: self.ragar.describe([request]) for key, request in uncached.items()}
        for length, group in self._by_length(described).items():
            for batch, padded in padded_batches(group, ROWS):
                description = Description.joined([described[key] for key in padded])
                global_states = self._global_states(description.texts)
                embeds = self.ragar.encode(description, overall=global_states, length=length).embeds()
                preferences.update(zip(batch, embeds, strict=False))  # not strict: padding rows are dropped
        update_cache(self.preferences, preferences)
        return torch.stack([preferences[key] for key in keys])

    def _key(self, request: Request) -> Hashable:
        """Everything that a request's preference depends on."""
        config = self.ragar.config
        seed = request.seed if config.history == "random" else None
        user = request.user if config.asks_taste else None
        return request.reference, request.history[-config.history_length :], seed, user

    def _by_length(self, described: dict[Key, Description]) -> dict[int, list[Key]]:
        """Group keys by the length that their prompts are padded to.

        The length is always above a prompt's own: attention without any padding would run by another kernel.
        """
        groups: dict[int, list[Key]] = {}
        prompts = [description.prompts[0] for description in described.values()]
        lengths = self.ragar.language.tokens(prompts) if prompts else []  # a tokenizer refuses an empty list
        for key, tokens in zip(described, lengths, strict=True):
            groups.setdefault((tokens // TOKENS + 1) * TOKENS, []).append(key)
        return groups

    def _global_states(self, texts: Sequence[str]) -> Float[Tensor, "n context width"]:
        """E_g of each text."""
        states = {text: self.texts[text] for text in texts if text in self.texts}
        uncached = [text for text in dict.fromkeys(texts) if text not in states]
        for batch, padded in padded_batches(uncached, ROWS):
            states.update(zip(batch, self.ragar.backbone.states(padded), strict=False))
        update_cache(self.texts, states)
        return torch.stack([states[text] for text in texts])


def update_cache(cache: dict[Key, Tensor], used: dict[Key, Tensor]) -> None:
    """Move what was used to the end of the cache, and drop from its beginning what exceeds :data:`CACHE_SIZE`."""
    for key, value in used.items():
        cache.pop(key, None)
        cache[key] = value.clone()  # a view of one row would keep the whole batch in memory
    for key in list(cache)[: max(0, len(cache) - CACHE_SIZE)]:
        del cache[key]
