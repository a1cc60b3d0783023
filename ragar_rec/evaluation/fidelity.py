"""Fidelity: distance of generated pictures from real ones, as a set (Fréchet) and one by one (copies, references)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from generation.pictures import to_float

CODED = 64
"""Pictures that are given back at a time."""
BLOCK = 256
"""Queries whose distances to the whole pool are held at a time."""


def psnr(images: Float[Tensor, "n 3 height width"], truth: Float[Tensor, "n 3 height width"]) -> float:
    """Peak signal-to-noise ratio over all pictures together, in dB: 10 log10(1 / mean squared error), in [0, 1]."""
    return float(-10 * torch.log10(((images - truth) ** 2).mean()))


def given_back_psnr(
    reconstruct: Callable[[Sequence[str]], Float[Tensor, "n 3 height width"]],
    items: Sequence[str],
    images: UInt8[Tensor, "n 3 height width"],
) -> float:
    """PSNR of items' own pictures as a generator gives them back, see :func:`psnr`.

    Args:
        reconstruct: items to what the generator makes of their own pictures.
        items: of these pictures.
        images: the pictures.
    """
    blocks = [reconstruct(items[start : start + CODED]) for start in range(0, len(items), CODED)]
    return psnr(torch.cat(blocks), to_float(images))


def frechet_distance(a: Float[Tensor, "n dim"], b: Float[Tensor, "m dim"]) -> float:
    """Squared Fréchet distance of the Gaussians with the samples' means and covariances (Heusel et al. 2017, eq. 6).

    |mean_a - mean_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)). With S_a = A'A and S_b = B'B, for centred rows divided by
    (n - 1)^(1/2), the last trace is the sum of the singular values of A B': S_a S_b has the same non-zero eigenvalues
    as (A B')(A B')'. So no root of a matrix is taken, and fewer samples than dimensions are no special case.

    It is biased upwards by about 1 / n: compare numbers of equal n only.

    Raises:
        ValueError: a sample has fewer than two rows, or values that are not finite.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a covariance needs at least 2 pictures, got {len(a)} and {len(b)}")
    samples = [sample.detach().double() for sample in (a, b)]
    if not all(torch.isfinite(sample).all() for sample in samples):
        raise ValueError("features that are not finite numbers have no Fréchet distance")
    means = [sample.mean(0) for sample in samples]
    rows = [(sample - mean) / (len(sample) - 1) ** 0.5 for sample, mean in zip(samples, means, strict=True)]
    # With fewer dimensions than samples R of a QR decomposition stands for the rows: R'R = A'A.
    left, right = (torch.linalg.qr(x, mode="r")[1] if len(x) > x.shape[1] else x for x in rows)
    overlap = torch.linalg.svdvals(left @ right.T).sum()
    return float(((means[0] - means[1]) ** 2).sum() + (left**2).sum() + (right**2).sum() - 2 * overlap)


def identity(
    features: Float[Tensor, "n dim"], references: Float[Tensor, "n dim"], mean: Float[Tensor, " dim"]
) -> float:
    """Mean cosine of pictures' features with those of their references, the catalogue's mean removed from both.

    1 for the references themselves, about 0 for pictures that have nothing to do with them.
    """
    return float(F.cosine_similarity(features - mean, references - mean).mean())


def palette_shift(
    moved: Float[Tensor, "n 3 height width"],
    unmoved: Float[Tensor, "n 3 height width"],
    origin: Float[Tensor, "n 3 height width"],
    goal: Float[Tensor, "n 3 height width"],
) -> float:
    """Share of the way from the mean colour of ``origin`` to that of ``goal`` by which two renderings differ.

    The least-squares slope of (moved - unmoved) over (goal - origin) in mean colours: 0 if words move no colour, 1 if
    the whole palette follows.

    Args:
        moved: renderings by the words of ``goal``.
        unmoved: renderings by the words of ``origin``.
        origin: the references of both.
        goal: the pictures whose words moved the first.
    """
    shift, full = ((a - b).mean((2, 3)).flatten() for a, b in ((moved, unmoved), (goal, origin)))
    return float((shift @ full) / (full @ full))


def nearest(
    queries: Float[Tensor, "q dim"], pool: Float[Tensor, "n dim"], skip: Int[Tensor, " q"] | None = None
) -> tuple[Float[Tensor, " q"], Int[Tensor, " q"]]:
    """Euclidean distance of each query to its nearest row of the pool, and the number of that row.

    Args:
        queries: pictures as vectors.
        pool: the vectors that are searched.
        skip: for each query a row of the pool that is left out (the query itself); negative for none.

    Raises:
        ValueError: nothing is left to find.
    """
    if len(pool) < (1 if skip is None else 2):
        raise ValueError(f"no neighbour can be found among {len(pool)} pictures: take more")
    blocks = []
    for start in range(0, len(queries), BLOCK):
        distances = torch.cdist(queries[start : start + BLOCK], pool)
        if skip is not None:
            skipped = skip[start : start + BLOCK]
            distances[skipped >= 0, skipped[skipped >= 0]] = torch.inf
        blocks.append(distances.argmin(1))
    rows = torch.cat(blocks)
    # cdist computes |a|^2 + |b|^2 - 2 ab by a product of matrices, whose rounding leaves a copy at a small distance.
    # The difference of the vectors themselves gives it 0.
    return (queries - pool[rows]).norm(dim=1), rows


@dataclass(frozen=True)
class Closeness:
    """How near a set of pictures comes to single training pictures; d is the distance to the nearest one."""

    closer_than_training: float
    """Share nearer to a training picture t than any other training picture is to t: d(x, t) < d(t, nearest to t)."""
    below_median: float
    """Share whose d is below the median of the training pictures' own d (to the nearest *other* training picture)."""
    below_5_percent: float
    """Share whose d is below the 5 % quantile of that; new pictures of the same kind give about .05."""
    median: float
    """Median d."""
    training_median: float
    """Median d of the training pictures."""
    neighbours: int
    """Number of different training pictures that are nearest to some picture. If they are few, they are hubs: nearest
    to whatever is odd, and far from their own twins. Then ``closer_than_training`` says nothing about copies."""


def closeness(
    pictures: Float[Tensor, "n dim"],
    training: Float[Tensor, "m dim"],
    own: Float[Tensor, " s"],
    references: Int[Tensor, " n"] | None = None,
) -> tuple[Closeness, Float[Tensor, " n"], Int[Tensor, " n"]]:
    """Check generated pictures for copies of training pictures by nearest neighbours, in any space of vectors.

    Args:
        pictures: the generated ones.
        training: all training pictures.
        own: d of training pictures, all or a sample: ``nearest(training[rows], training, rows)``.
        references: for each picture a row of ``training`` that it was made from and may therefore resemble, which is
            not counted as its neighbour; negative for none.

    Returns:
        The shares, each picture's d, and the row of the training picture that it is nearest to.
    """
    distance, row = nearest(pictures, training, references)
    # The yardstick of each picture: how near its neighbour's own twin is to that neighbour.
    of_neighbour, _ = nearest(training[row], training, row)
    shares = Closeness(
        closer_than_training=_share(distance < of_neighbour),
        below_median=_share(distance < own.quantile(0.5)),
        below_5_percent=_share(distance < own.quantile(0.05)),
        median=float(distance.quantile(0.5)),
        training_median=float(own.quantile(0.5)),
        neighbours=len(row.unique()),
    )
    return shares, distance, row


def _share(condition: Bool[Tensor, " n"]) -> float:
    return float(condition.float().mean())
