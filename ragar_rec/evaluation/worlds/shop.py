"""A simulated shop in which the truth is known: items with a look, photos that show a part of it, and people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from recsys.whitening import whitening_map


@dataclass(frozen=True)
class Shop:
    """Items, people, and why people click.

    The utility of an item for a person is pop_i + cat_{u, c(i)} + tau w_u . look_i + eta w_u . p. The look is what the
    item is really like, which people learn from more than its picture; p is the picture shown.

    Attributes:
        looks: each coordinate has mean 0 and variance 1 over the items.
        photos: the catalogue's pictures: as many coordinates as a look has, and a badge that is no part of the look.
        popularity: pop_i.
        categories: c(i).
        tastes: w_u, unit vectors.
        common_taste: the direction that tastes have in common, where they have one.
        category_tastes: cat_{u, c}.
        new: items that arrived after the training period.
        tau: weight of the look.
        eta: weight of the picture shown.
    """

    looks: Float[np.ndarray, "items dim"]
    photos: Float[np.ndarray, "items picture"]
    popularity: Float[np.ndarray, " items"]
    categories: Int[np.ndarray, " items"]
    tastes: Float[np.ndarray, "people dim"]
    common_taste: Float[np.ndarray, " dim"]
    category_tastes: Float[np.ndarray, "people categories"]
    new: Bool[np.ndarray, " items"]
    tau: float
    eta: float

    def utility(
        self, shown: Float[np.ndarray, "people items picture"] | None = None
    ) -> Float[np.ndarray, "people items"]:
        """Utility of every item for every person under the pictures shown; by default the photos."""
        dim = self.looks.shape[1]
        if shown is None:
            seen = self.tastes @ self.photos[:, :dim].T
        else:
            seen = np.einsum("ud,uid->ui", self.tastes, shown[..., :dim])
        liked = self.tau * self.tastes @ self.looks.T + self.eta * seen
        return self.popularity + self.category_tastes[:, self.categories] + liked


def whitened(features: Float[np.ndarray, "items width"], dim: int) -> Float[np.ndarray, "items dim"]:
    """Looks of items by their pictures' features: the first principal components, each with variance 1.

    Raises:
        ValueError: the features vary in fewer than ``dim`` directions.
    """
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    # `whitening_map` gives rows of mean squared norm 1.
    return centred @ whitening_map(centred, dim).astype(np.float64) * np.sqrt(dim)


def gaussian_cloud(items: int, rng: np.random.Generator, *, width: int = 32) -> Float[np.ndarray, "items width"]:
    """An anisotropic Gaussian cloud in place of the features of real pictures."""
    # Standard deviations fall from 2 to 1/2, as those of real features' components do.
    return rng.normal(size=(items, width)) * np.geomspace(2, 0.5, width)
