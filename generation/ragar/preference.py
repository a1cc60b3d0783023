"""What eq. 2-9 pass on: a batch of requests as a `Description` (after eq. 6) and as a `Preference` (after eq. 9)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from generation.request import Explanation


@dataclass(frozen=True)
class Description:
    """A batch of requests before any network: the texts and weights that a preference is encoded from."""

    prompts: tuple[str, ...]
    """p_g of eq. 7."""
    texts: tuple[str, ...]
    """The texts that E_g is encoded from: the reference's caption and the keywords."""
    row_weights: Float[Tensor, "batch n"]
    """A weight for each row of E_g."""
    retrieved: Float[Tensor, "batch visual"]
    """P_ret (eq. 5)."""
    explanations: tuple[Explanation, ...]
    """The retrieved items, their weights and the keywords of each request."""
    taste: Float[Tensor, "batch visual"]
    """The taste vectors of :class:`generation.reward.DirectedReward`; zeros where none is asked."""

    @classmethod
    def joined(cls, parts: Sequence["Description"]) -> "Description":
        """Concatenate descriptions to one batch."""
        return cls(
            prompts=tuple(prompt for part in parts for prompt in part.prompts),
            texts=tuple(text for part in parts for text in part.texts),
            row_weights=torch.cat([part.row_weights for part in parts]),
            retrieved=torch.cat([part.retrieved for part in parts]),
            explanations=tuple(explanation for part in parts for explanation in part.explanations),
            taste=torch.cat([part.taste for part in parts]),
        )


@dataclass(frozen=True)
class Preference:
    """The preferences of a batch of requests: P_gen in its parts, and P_ret."""

    detail: Float[Tensor, "batch m width"]
    """The calibrated rows of E_d (eq. 9), which carry noise and gradient."""
    mapped: Float[Tensor, "batch queries width"]
    """The mapper's rows of E_d (eq. 8), for eq. 14."""
    text: Float[Tensor, "batch text width"]
    """The projected prompt rows of E_d (eq. 8), for eq. 14."""
    overall: Float[Tensor, "batch n width"]
    """E_g, the text encoder's states of the caption and keywords; frozen."""
    retrieved: Float[Tensor, "batch visual"]
    """P_ret (eq. 5)."""
    explanations: tuple[Explanation, ...]
    """The retrieved items, their weights and the keywords of each request."""
    concatenated: bool = True
    """Whether E_g follows the detail rows in P_gen (not in the calibrator's mode ``residual``)."""
    pictures_first: bool = False
    """Whether the mapper's rows stand in front of P_gen, where a UNet with an IP-Adapter takes them from it."""

    def embeds(self, detail: Tensor | None = None) -> Float[Tensor, "batch rows width"]:
        """P_gen = [calibrated rows; E_g] (eq. 9); ``detail`` may replace the calibrated rows, e.g. by noisy ones."""
        detail = self.detail if detail is None else detail
        if self.pictures_first:
            # They are the last of E_d.
            detail = detail.roll(self.mapped.shape[1], dims=1)
        return torch.cat([detail, self.overall], dim=1) if self.concatenated else detail
