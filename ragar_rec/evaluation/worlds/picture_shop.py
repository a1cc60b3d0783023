"""A simulated shop with real pictures, in which the picture shown makes people click."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from generation.pictures import to_float
from generation.request import Request
from ragar_rec.evaluation.worlds.clicks import draw_clicks
from ragar_rec.evaluation.worlds.eye import DIM, Eye
from ragar_rec.evaluation.worlds.scenarios import CATEGORY_TASTE, POPULARITY, unit
from recsys.catalog import Catalog, Item


@dataclass(frozen=True)
class PictureShop:
    """Items with pictures, and people who click by popularity, category, and what they see.

    The utility of item i for person u under picture p is pop_i + cat_{u, c(i)} + eta w_u . eye(p). Gumbel noise, of
    standard deviation 1.28, is added when clicks are drawn.

    Attributes:
        items: each with a picture.
        eye: what is seen of a picture.
        seen: eye(p) of the items' own pictures.
        popularity: pop_i.
        categories: c(i), the item's first tag.
        tastes: w_u, unit vectors.
        category_tastes: cat_{u, c}.
        eta: weight of the picture shown: by how much log odds of a click rise if it lies one standard deviation of the
            catalogue's pictures further in the direction of the person's taste.
    """

    items: tuple[Item, ...]
    eye: Eye
    seen: Float[np.ndarray, "items dim"]
    popularity: Float[np.ndarray, " items"]
    categories: Int[np.ndarray, " items"]
    tastes: Float[np.ndarray, "people dim"]
    category_tastes: Float[np.ndarray, "people categories"]
    eta: float

    @classmethod
    def draw(
        cls,
        items: Sequence[Item],
        photos: UInt8[Tensor, "items 3 height width"],
        *,
        people: int,
        eta: float,
        seed: int,
        dim: int = DIM,
    ) -> PictureShop:
        """Draw people and popularity for a catalogue.

        Args:
            items: each with a picture.
            photos: their pictures.
            people: how many.
            eta: weight of the picture shown.
            seed: of everything that is drawn.
            dim: coordinates that the eye keeps.

        Raises:
            ValueError: the photos' colours vary in fewer directions.
        """
        rng, eye = np.random.default_rng(seed), Eye(photos, dim)
        seen = _coordinates(eye, photos)
        names = [item.tags[0] if item.tags else "" for item in items]
        categories = np.unique(names, return_inverse=True)[1]
        tastes = unit(rng.normal(size=(people, seen.shape[1])))
        return cls(
            items=tuple(items),
            eye=eye,
            seen=seen,
            popularity=POPULARITY * rng.normal(size=len(items)),
            categories=categories,
            tastes=tastes,
            category_tastes=CATEGORY_TASTE * rng.normal(size=(people, categories.max() + 1)),
            eta=eta,
        )

    @property
    def people(self) -> list[str]:
        """Ids of the people, as they are written."""
        return [f"person{number}" for number in range(len(self.tastes))]

    def utility(
        self,
        people: Int[np.ndarray, " n"],
        listed: Int[np.ndarray, "n c"] | None = None,
        seen: Float[np.ndarray, "n c dim"] | None = None,
    ) -> Float[np.ndarray, "n items"]:
        """Utility of every item for these people, who see other pictures of some items and the photos of all others.

        Args:
            people: numbers of people.
            listed: the items of each that show other pictures.
            seen: eye(p) of these pictures.
        """
        tastes = self.tastes[people]
        utility = self.popularity + self.category_tastes[people][:, self.categories] + self.eta * tastes @ self.seen.T
        if listed is not None and seen is not None:
            change = self.eta * np.einsum("nd,ncd->nc", tastes, seen - self.seen[listed])
            utility[np.arange(len(people))[:, None], listed] += change
        return utility

    def look(self, images: UInt8[Tensor, "n 3 height width"]) -> Float[np.ndarray, "n dim"]:
        """eye(p) of pictures."""
        return _coordinates(self.eye, images)

    def write(self, folder: Path, clicks: int, rng: np.random.Generator) -> None:
        """Let everybody click so many items under the photos, and write ``interactions.csv`` and ``catalog.csv``.

        That is a data set as ``catalog.preparer: own`` reads it. A second call replaces it.
        """
        chosen = draw_clicks(self.utility(np.arange(len(self.tastes))), clicks, rng)
        ids = np.array([item.id for item in self.items])
        frame = pd.DataFrame(
            {
                "user_id": np.repeat(self.people, clicks),
                "item_id": ids[chosen].ravel(),
                "timestamp": np.tile(np.arange(clicks), len(chosen)),
            }
        )
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_csv(folder / "interactions.csv", index=False)
        Catalog(self.items).write(folder / "catalog.csv")


class Liking:
    """A reward that knows the truth: eta w_u . eye(p) of each request's person; differentiable.

    Args:
        shop: whose people are named in the requests.
    """

    def __init__(self, shop: PictureShop) -> None:
        self.shop, self.number = shop, {name: at for at, name in enumerate(shop.people)}

    def __call__(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        rows = [self.number[request.user] for request in requests]
        tastes = torch.from_numpy(self.shop.tastes[rows]).to(images)
        return self.shop.eta * (tastes * self.shop.eye(images)).sum(1)


def without(
    utility: Float[np.ndarray, "n items"], clicked: Bool[np.ndarray, "n items"]
) -> Float[np.ndarray, "n items"]:
    """Utilities in which what was clicked before cannot be clicked again."""
    return np.where(clicked, -np.inf, utility)


def _coordinates(eye: Eye, images: UInt8[Tensor, "n 3 height width"]) -> Float[np.ndarray, "n dim"]:
    return torch.cat([eye(to_float(block)) for block in images.split(256)]).double().numpy()
