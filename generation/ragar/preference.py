"""The preference of a request: what is known before the picture (eq. 2-9)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from generation.request import Explanation


@dataclass(frozen=True)
class Preference:
    """What is known of a batch of requests before the picture: P_gen's parts, P_ret, and where they came from."""

    detail: Float[Tensor, "batch m width"]
    """The calibrated rows, which carry noise and gradient."""
    mapped: Float[Tensor, "batch queries width"]
    """The mapper's rows of E_d, for eq. 14."""
    text: Float[Tensor, "batch text width"]
    """The projected prompt rows of E_d, for eq. 14."""
    overall: Float[Tensor, "batch n width"]
    """E_g, frozen."""
    retrieved: Float[Tensor, "batch visual"]
    """P_ret."""
    explanations: tuple[Explanation, ...]
    concatenated: bool = True
    """Whether E_g stands behind the detail rows (not in the calibrator's mode ``residual``)."""

    def embeds(self, detail: Tensor | None = None) -> Float[Tensor, "batch rows width"]:
        """P_gen = [calibrated rows; E_g] (eq. 9), optionally with other (noisy) rows in front."""
        detail = self.detail if detail is None else detail
        return torch.cat([detail, self.overall], dim=1) if self.concatenated else detail


@dataclass(frozen=True)
class Description:
    """A batch of requests before any network: the words and numbers that a preference is encoded from."""

    prompts: tuple[str, ...]
    """p_g of eq. 7."""
    texts: tuple[str, ...]
    """What E_g is encoded from: the reference's caption and the keywords."""
    row_weights: Float[Tensor, "batch n"]
    """A weight for each row of E_g."""
    retrieved: Float[Tensor, "batch visual"]
    """P_ret."""
    explanations: tuple[Explanation, ...]

    @classmethod
    def joined(cls, parts: Sequence["Description"]) -> "Description":
        """One batch of several."""
        return cls(
            prompts=tuple(one for part in parts for one in part.prompts),
            texts=tuple(one for part in parts for one in part.texts),
            row_weights=torch.cat([part.row_weights for part in parts]),
            retrieved=torch.cat([part.retrieved for part in parts]),
            explanations=tuple(one for part in parts for one in part.explanations),
        )
