"""What the backbone alone makes of a catalogue's pictures, by their own conditions and by others'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from generation.pictures import to_float
from ragar_rec.evaluation.fidelity import palette_shift, psnr
from ragar_rec.evaluation.frames import BATCH
from ragar_rec.evaluation.people import request_seed
from ragar_rec.experiment import Experiment
from ragar_rec.studies.markdown import interval_text

RESAMPLES = 2000
"""Bootstrap samples of the pictures."""


@dataclass(frozen=True)
class EditSettings:
    """Which pictures are edited."""

    n: int = 300
    """Pictures; all of the catalogue's if it has fewer."""
    draw_seed: int = 0
    """Of the pictures and the noise."""

    def __post_init__(self) -> None:
        if self.n < 2:
            raise ValueError(f"n {self.n}: another's condition needs at least 2 pictures")


def edits(run: Experiment, settings: EditSettings) -> dict[str, Any]:
    """How much of a picture its own condition gives back, and how far another's moves the palette.

    Pictures that were held out from the backbone if there are any (`backbone.held_out`), else any.

    Returns:
        ``psnr`` in dB, over all pictures together, and ``median_psnr`` over pictures; ``palette_shift``, see
        :func:`ragar_rec.evaluation.fidelity.palette_shift`, with a 95 % bootstrap interval over pictures; ``pictures``
        and ``size`` (height, width).

    Raises:
        ValueError: the catalogue has fewer than two pictures.
    """
    learned, held_out = run.pictures.divided(run.config.backbone.held_out, run.config.backbone.seed)
    rows = held_out or learned
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(settings.draw_seed)).tolist()
    chosen = [rows[at] for at in order[: settings.n]]
    if len(chosen) < 2:
        raise ValueError(f"{len(chosen)} picture has no other's condition: a catalogue needs at least 2")
    real = to_float(run.pictures.images[chosen])
    own = rendered(run, chosen, real, settings.draw_seed)
    others = rendered(run, [*chosen[1:], *chosen[:1]], real, settings.draw_seed)
    each = [psnr(image[None], truth[None]) for image, truth in zip(own, real, strict=True)]
    return {
        "pictures": len(chosen),
        "size": list(real.shape[-2:]),
        "psnr": psnr(own, real),
        "median_psnr": float(np.median(each)),
        "palette_shift": shift_interval(others, own, real, real.roll(-1, 0)),
    }


def edits_line(results: dict[str, Any]) -> str:
    """The result for a terminal."""
    height, width = results["size"]
    return (
        f"{results['pictures']} pictures of {height} x {width} px: the own condition gives back "
        f"{results['psnr']:.1f} dB (the median picture {results['median_psnr']:.1f}), another's moves the mean colour "
        f"{interval_text(results['palette_shift'], '.2f')} of the way"
    )


def rendered(
    run: Experiment, conditions: Sequence[int], references: Float[Tensor, "n 3 height width"], seed: int
) -> Float[Tensor, "n 3 height width"]:
    """The backbone's renderings of references, each under the caption and feature of a row of the catalogue."""
    backbone, gallery, parts = run.components.pipeline, run.components.gallery, []
    for start in tqdm(range(0, len(conditions), BATCH), desc="rendered", disable=not run.workspace.progress):
        rows = list(conditions[start : start + BATCH])
        condition = backbone.states([gallery.captions[row] for row in rows])
        if backbone.picture_tokens is not None:
            tokens = backbone.picture_tokens(gallery.visual[rows].to(condition))
            condition = torch.cat([tokens, condition], dim=1)
        seeds = [request_seed(seed, "image-to-image", str(start + at)) for at in range(len(rows))]
        drawn = backbone.draw(condition, references[start : start + BATCH], seeds, run.config.generator)
        parts.append(drawn.cpu())
    return torch.cat(parts)


def shift_interval(moved: Tensor, unmoved: Tensor, origin: Tensor, goal: Tensor) -> dict[str, float]:
    """The palette shift, and the 2.5 and 97.5 % points of what it is over resampled pictures."""
    colours = torch.stack([images.mean((2, 3), keepdim=True) for images in (moved, unmoved, origin, goal)])
    draws = torch.from_numpy(np.random.default_rng(0).integers(0, len(moved), (RESAMPLES, len(moved))))
    low, high = np.quantile([palette_shift(*colours[:, draw]) for draw in draws], [0.025, 0.975]).tolist()
    return {"value": palette_shift(*colours), "low": low, "high": high}
