"""How drawn pictures look beside their references, averaged over people."""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from generation.appearance import appearance, commonest_share, palettes
from generation.pictures import to_float
from ragar_rec.config.sections import EvaluationConfig
from ragar_rec.report.report import Appearance
from ragar_rec.stages.drawn import DrawnPictures
from recsys.scoring.statistics import interval, per_user_mean

BLOCK = 256
"""Pictures that are measured at a time."""

PALETTE = "commonest palette"
"""The measure that all pictures have together."""


def appearances(drawn: DrawnPictures, settings: EvaluationConfig) -> list[Appearance]:
    """Each measure of v_gen and of its references; a person's pictures are averaged first.

    Args:
        drawn: the pictures that the protocols judge.
        settings: resamples and confidence of the intervals.
    """
    ids = drawn.shards.ids
    if not ids:
        return []
    users = [json.loads(name)[0] for name in ids]
    blocks = [_measured(drawn, ids[start : start + BLOCK]) for start in range(0, len(ids), BLOCK)]
    v_gen, references = (
        {name: torch.cat([block[at][name] for block in blocks]) for name in blocks[0][at]} for at in (0, 1)
    )
    found = []
    for name in v_gen:
        if name == PALETTE:
            found.append(Appearance(name, commonest_share(v_gen[name]), commonest_share(references[name])))
            continue
        generated, reference = (per_user_mean(values[name].tolist(), users) for values in (v_gen, references))
        difference = interval(
            (generated - reference).to_numpy(), confidence=settings.confidence, resamples=settings.resamples
        )
        found.append(Appearance(name, float(generated.mean()), float(reference.mean()), difference))
    return found


def _measured(drawn: DrawnPictures, ids: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Every measure of these generated pictures, and of their references."""
    pictures, items = drawn.system.pictures, [json.loads(name)[1] for name in ids]
    references, v_gen = to_float(pictures.images[pictures.rows(items)]), drawn.shards.read(ids)
    if v_gen.shape[-2:] != references.shape[-2:]:
        # A generator of the user's own: how many pixels are at an edge depends on the size.
        v_gen = F.interpolate(v_gen, size=references.shape[-2:], mode="area")
    first, second = ({**appearance(images), PALETTE: palettes(images)} for images in (v_gen, references))
    return first, second
