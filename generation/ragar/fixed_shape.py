"""Many requests in batches of one shape, so that a picture depends on its request alone, to the last bit."""

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from generation.ragar.preference import Description
from generation.ragar.ragar import Ragar
from generation.request import Request

ROWS = 16
"""Preferences and texts that are encoded at a time."""
TOKENS = 64
"""Prompts are padded to multiples of it."""
KEPT = 512
"""Preferences, and encoded texts, that are kept for the requests that follow."""

Row = TypeVar("Row")
Key = TypeVar("Key", bound=Hashable)


class FixedShape:
    """Answers requests as :meth:`Ragar.generate` does, up to rounding, and whatever stands beside them.

    How a sum over a batch is split, and so its last bit, depends on the batch's shape: on the number of rows and on the
    longest prompt among them. Here every network sees the same number of rows, the last ones repeated where requests
    are missing, and prompts padded to a length that follows from their own. Two runs that cut the same requests into
    other batches, in another order or by several processes, make the same pictures, on one kind of machine and with one
    ``batch_size``.

    Each preference is encoded once for all its requests (seeds), each text (E_g) once for all people whose reference
    and keywords are the same: the last :data:`KEPT` of each are kept, so equal ones should come close together.

    Example:
        >>> pictures = FixedShape(ragar, batch_size=64).generate(requests)
    """

    def __init__(self, ragar: Ragar, batch_size: int = 64) -> None:
        """Wrap a generator, which must not be trained meanwhile.

        Args:
            ragar: makes the pictures; its weights are taken to stay as they are.
            batch_size: pictures at a time: memory against speed.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.ragar, self.batch_size = ragar, batch_size
        self.preferences: dict[Hashable, Float[Tensor, "rows width"]] = {}
        self.texts: dict[str, Float[Tensor, "context width"]] = {}

    @torch.no_grad()
    def generate(self, requests: Sequence[Request]) -> Float[Tensor, "n 3 height width"]:
        """One picture a request, in [0, 1]."""
        parts = []
        for chunk, full in filled(requests, self.batch_size):
            embeds = self.encode(chunk)
            embeds = torch.cat([embeds, embeds[-1:].expand(len(full) - len(chunk), -1, -1)])
            parts.append(self.ragar.render(embeds, full)[: len(chunk)])
        return torch.cat(parts) if parts else torch.empty(0, 3, *self.ragar.backbone.size)

    @torch.no_grad()
    def encode(self, requests: Sequence[Request]) -> Float[Tensor, "n rows width"]:
        """P_gen of each request."""
        keys = [self._key(request) for request in requests]
        new = {key: request for key, request in zip(keys, requests, strict=True) if key not in self.preferences}
        found = {key: self.preferences[key] for key in keys if key in self.preferences}
        # One request at a time: retrieval pads histories to the longest of the batch, and is no work for a network.
        described = {key: self.ragar.describe([request]) for key, request in new.items()}
        for length, group in self._by_length(described).items():
            for chunk, full in filled(group, ROWS):
                batch = Description.joined([described[key] for key in full])
                made = self.ragar.encode(batch, overall=self._overall(batch.texts), length=length).embeds()
                found.update(zip(chunk, made, strict=False))
        remember(self.preferences, found)
        return torch.stack([found[key] for key in keys])

    def _key(self, request: Request) -> Hashable:
        """What a preference depends on."""
        config = self.ragar.config
        seed = request.seed if config.history == "random" else None
        return request.reference, request.history[-config.history_length :], seed

    def _by_length(self, described: dict[Key, Description]) -> dict[int, list[Key]]:
        """Keys by the length that their prompts are padded to.

        Always above a prompt's own: a batch without padding would go through attention by another kernel.
        """
        groups: dict[int, list[Key]] = {}
        own = self.ragar.language.tokens([one.prompts[0] for one in described.values()]) if described else []
        for key, tokens in zip(described, own, strict=True):
            groups.setdefault((tokens // TOKENS + 1) * TOKENS, []).append(key)
        return groups

    def _overall(self, texts: Sequence[str]) -> Float[Tensor, "n context width"]:
        """E_g of each text."""
        found = {text: self.texts[text] for text in texts if text in self.texts}
        for chunk, full in filled([text for text in dict.fromkeys(texts) if text not in found], ROWS):
            found.update(zip(chunk, self.ragar.backbone.states(full), strict=False))
        remember(self.texts, found)
        return torch.stack([found[text] for text in texts])


def filled(rows: Sequence[Row], size: int) -> Iterable[tuple[list[Row], list[Row]]]:
    """Rows in chunks of at most ``size``, and each chunk again with its last row repeated up to exactly ``size``."""
    for start in range(0, len(rows), size):
        chunk = list(rows[start : start + size])
        yield chunk, chunk + chunk[-1:] * (size - len(chunk))


def remember(kept: dict[Key, Tensor], found: dict[Key, Tensor]) -> None:
    """Put what was used last at the end, and drop from the beginning what exceeds :data:`KEPT`."""
    for key, value in found.items():
        kept.pop(key, None)
        kept[key] = value.clone()  # A row of a batch would keep the whole batch.
    for key in list(kept)[: max(0, len(kept) - KEPT)]:
        del kept[key]
