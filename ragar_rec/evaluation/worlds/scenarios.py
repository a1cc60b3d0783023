"""The planted worlds: what people look at, what a system's pictures show, and which verdict is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from ragar_rec.evaluation.verdict import Rule
from ragar_rec.evaluation.worlds.shop import Shop, gaussian_cloud, whitened

DIM = 8
"""Coordinates of a look."""
SHOWN = 0.6
"""Correlation of a photo with the look of its item, rho; the rest is that of another item."""
TAU = 2.0
"""Weight of the look where people have taste; Gumbel noise has a standard deviation of 1.28."""
POPULARITY = 0.7
"""Standard deviation of the items' popularity."""
CATEGORY_TASTE = 0.7
"""Standard deviation of the tastes for categories."""
CATEGORIES = 6
PAINT = 1.5
"""How far a picture is moved towards a taste by a system that flatters."""
BADGED = 0.7
"""Correlation of popularity and badge in the catalogue of `watermark`."""
STAMP = 2.0
"""How much larger than the catalogue's are the badges that the system of `watermark` paints."""

Pictures = Float[np.ndarray, "people items picture"]


@dataclass(frozen=True)
class World:
    """A shop and the pictures that a system shows in it, one for each person and item."""

    shop: Shop
    pictures: Pictures


@dataclass(frozen=True)
class Scenario:
    """What is planted.

    Attributes:
        why: why the right verdicts are right.
        right: the rules that are right; empty where no log can tell.
        system: the pictures that are shown in a shop.
        common: the part of everybody's taste that is the same, from 0 to 1.
        tau: weight of the look.
        eta: weight of the picture shown.
        popularity: its standard deviation.
        badged: the correlation of badge and popularity in the catalogue.
    """

    why: str
    right: tuple[Rule, ...]
    system: Callable[[Shop], Pictures]
    common: float = 0.0
    tau: float = TAU
    eta: float = 0.0
    popularity: float = POPULARITY
    badged: float = 0.0

    def world(
        self, features: Float[np.ndarray, "pictures width"] | None, *, people: int, items: int, seed: int
    ) -> World:
        """Draw a shop and let the system make its pictures.

        Args:
            features: of real pictures, of which a sample becomes the items; None: a Gaussian cloud.
            people: how many.
            items: how many; half of them are new.
            seed: of everything that is drawn.

        Raises:
            ValueError: there are fewer pictures than items.
        """
        rng = np.random.default_rng(seed)
        if features is not None and len(features) < items:
            raise ValueError(f"a world of {items} items needs as many pictures, got the features of {len(features)}")
        rows = gaussian_cloud(items, rng) if features is None else features[rng.permutation(len(features))[:items]]
        looks = whitened(rows, DIM)
        own, common = unit(rng.normal(size=(people, DIM))), unit(rng.normal(size=(1, DIM)))
        popularity = rng.normal(size=items)
        badges = self.badged * popularity + np.sqrt(1 - self.badged**2) * rng.normal(size=items)
        partial = SHOWN * looks + np.sqrt(1 - SHOWN**2) * looks[rng.permutation(items)]
        shop = Shop(
            looks=looks,
            # A badge that says nothing is left out: it would be noise that only one ranker sees.
            photos=np.column_stack([partial, badges if self.badged else np.zeros(items)]),
            popularity=self.popularity * popularity,
            categories=rng.integers(CATEGORIES, size=items),
            tastes=unit(self.common * common + (1 - self.common) * own),
            common_taste=common[0],
            category_tastes=CATEGORY_TASTE * rng.normal(size=(people, CATEGORIES)),
            new=rng.permutation(items) < items // 2,
            tau=self.tau,
            eta=self.eta,
        )
        return World(shop, self.system(shop))


def reveal(shop: Shop) -> Pictures:
    """The photo, with what it hides of the look along the person's taste: p + (w_u . (look_i - p)) w_u."""
    return _along_taste(shop, _hidden(shop))


def reveal_and_paint(shop: Shop) -> Pictures:
    """As :func:`reveal`, and painted to the person's taste whatever the item: + a w_u."""
    return _along_taste(shop, _hidden(shop) + PAINT)


def paint(shop: Shop) -> Pictures:
    """The photo, painted to the person's taste whatever the item: p + a w_u."""
    return _along_taste(shop, np.full((len(shop.tastes), len(shop.looks)), PAINT))


def paint_and_stamp(shop: Shop) -> Pictures:
    """As :func:`paint`, with a badge in proportion to the item's popularity."""
    pictures = paint(shop)
    pictures[..., DIM] = STAMP * shop.popularity / shop.popularity.std()
    return pictures


def reveal_common_and_paint(shop: Shop) -> Pictures:
    """The photo, with what it hides of the look along the common taste, painted to the person's own taste."""
    pictures = paint(shop)
    hidden = (shop.looks - shop.photos[:, :DIM]) @ shop.common_taste
    pictures[..., :DIM] += hidden[:, None] * shop.common_taste
    return pictures


def _hidden(shop: Shop) -> Float[np.ndarray, "people items"]:
    return shop.tastes @ (shop.looks - shop.photos[:, :DIM]).T


def unit(vectors: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n dim"]:
    """The vectors at length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _along_taste(shop: Shop, steps: Float[np.ndarray, "people items"]) -> Pictures:
    pictures = np.tile(shop.photos, (len(shop.tastes), 1, 1))
    pictures[..., :DIM] += steps[..., None] * shop.tastes[:, None]
    return pictures


SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "serves": Scenario(
            "People have different tastes, and each sees the part of the look that matters to them: a ranker finds "
            "what they click.",
            ("personal gain, confirmed",),
            reveal_and_paint,
        ),
        "flatters": Scenario(
            "Each picture is painted to the person's taste whatever the item, and people do not click for the picture: "
            "of candidates that all please, none is better than it was.",
            ("gain only where the target is privileged",),
            paint,
        ),
        "pleases everybody": Scenario(
            "Everybody has the same taste, and pictures show what photos hide of it: a ranker finds what people click, "
            "but anybody else's picture of the item would do.",
            ("gain, not personal",),
            reveal_and_paint,
            common=1.0,
        ),
        "nobody looks": Scenario(
            "Looks have no part in what people click, so no picture can tell a ranker anything.",
            ("no gain", "nothing to gain"),
            reveal,
            tau=0.0,
        ),
        "watermark": Scenario(
            "Pictures carry a badge of bestsellers that only the reward ranker's encoder sees: what it gains is a "
            "message to the ranker, not a better picture.",
            ("gain for the reward ranker only",),
            paint_and_stamp,
            popularity=1.3,  # what the badge tells must be worth telling
            badged=BADGED,
        ),
        "pleases and paints": Scenario(
            "Half of everybody's taste is common. Pictures show what photos hide along it, and are painted to the "
            "person's own taste whatever the item: a whole list that was made for somebody else would do as well.",
            ("gain, not personal",),
            reveal_common_and_paint,
            common=0.5,
        ),
        "persuades": Scenario(
            "The picture itself makes people click, but in no log has anybody seen it: its gain cannot be known "
            "without showing it.",
            (),
            paint,
            eta=1.0,
        ),
    }
)
"""The worlds by name; those with a right verdict are the test of the verdicts."""
