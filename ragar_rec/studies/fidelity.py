"""The fidelity study: Fréchet distances, copies of training pictures, and what a rendering keeps of its reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from generation.encoders.encoder import encode_in_blocks
from generation.pictures import to_float
from ragar_rec.evaluation.fidelity import closeness, frechet_distance, identity, nearest, palette_shift, psnr
from ragar_rec.evaluation.frames import BATCH
from ragar_rec.evaluation.reward import normalise
from ragar_rec.experiment import Experiment
from ragar_rec.studies.picture_kinds import (
    ANOTHERS,
    OWN,
    REAL,
    RECONSTRUCTION,
    Selection,
    divided_rows,
    draw_kinds,
    save_people_sheet,
    select,
)
from ragar_rec.studies.picture_kinds import FidelitySettings as FidelitySettings
from ragar_rec.studies.sheets import save_closest, save_sheet
from recsys.features import FeatureTable

GENERATED = ("conditional", "v_gen", "v_gen from noise")
"""Kinds on the sheet of pictures that are nearest to a training picture."""

Neighbours = dict[str, tuple[Tensor, Tensor]]
"""By kind: every picture's distance to its nearest training picture, and the row of that one among them."""


def picture_fidelity(run: Experiment, settings: FidelitySettings) -> dict[str, Any]:
    """All numbers of an experiment's pictures; writes the sheets into its folder ``pictures``."""
    learned, held_out = divided_rows(run)
    selection = select(learned, held_out, settings.n, settings.draw_seed)
    folder = run.output / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    save_people_sheet(run, settings, folder / "people.png")
    kinds, training = draw_kinds(run, selection, settings), run.pictures.images[selection.training]
    save_sheet({name: images[: settings.references] for name, images in kinds.items()}, folder / "kinds.png")
    encoder = run.features.encoder
    features = {name: encode_in_blocks(encoder, images, BATCH) for name, images in kinds.items()}
    near, neighbours = _copies(features, encode_in_blocks(encoder, training, BATCH), selection, settings.draw_seed)
    by_pixel, _ = _copies(
        {name: _pixels(images) for name, images in kinds.items()},
        torch.cat([_pixels(to_float(block)) for block in training.split(BATCH)]),
        selection,
        settings.draw_seed,
    )
    generated = {name: kinds[name] for name in kinds if name in GENERATED}
    save_closest(generated, neighbours, training, settings.references, folder / "closest.png")
    real, mean = kinds[REAL], run.features.mean
    return {
        "pictures": len(selection.others),
        "compared_with": "pictures kept from the backbone" if held_out else "pictures that the backbone learned",
        "training_pictures": len(selection.training),
        "encoder": encoder.name,
        "psnr_of_reconstruction": psnr(kinds[RECONSTRUCTION], real),
        "frechet": _frechet(run, selection, features),
        "identity": {name: identity(values, features[REAL], mean) for name, values in features.items()},
        "palette_shift": palette_shift(kinds[ANOTHERS], kinds[OWN], real, real.roll(-1, 0)),
        "copies_in_features": near,
        "copies_in_pixels": by_pixel,
    }


def fidelity_table(results: Mapping[str, Any]) -> str:
    """The numbers for a terminal."""
    titles = "nearer to a training picture than its twin  below the 5 % quantile  (features; pixels)"
    lines = [
        f"{results['pictures']} of each kind, against {results['pictures']} {results['compared_with']}",
        f"reconstruction: {results['psnr_of_reconstruction']:.1f} dB",
        f"another's condition moves the palette by {results['palette_shift']:.2f} of the way to that other's",
        f"{'':30} Fréchet  identity  {titles}",
    ]
    for name, distance in results["frechet"].items():
        line = f"{name:30} {distance:7.1f}"
        if name in results["copies_in_features"]:
            line += f"  {results['identity'][name]:8.3f}"
            in_features, in_pixels = results["copies_in_features"][name], results["copies_in_pixels"][name]
            for key in ("closer_than_training", "below_5_percent"):
                line += f"  {100 * in_features[key]:5.1f} % {100 * in_pixels[key]:5.1f} %"
        lines.append(line)
    return "\n".join(lines)


def _frechet(run: Experiment, selection: Selection, features: Mapping[str, Tensor]) -> dict[str, float]:
    """Every kind against the same real pictures; real against real is the floor."""
    judges, floor = (_real_features(run, rows) for rows in (selection.judges, selection.others))
    # The catalogue's features are stored without their mean, and whitened where that is set.
    mean, whitening = run.features.mean, run.features.whitening
    sets = {"real": floor, **{name: normalise(values, mean, whitening) for name, values in features.items()}}
    return {name: frechet_distance(values, judges) for name, values in sets.items()}


def _real_features(run: Experiment, rows: Sequence[int]) -> Tensor:
    """The catalogue's own features, from the files at the encoder's size."""
    table = FeatureTable.read(run.features.file("image"))
    values, _ = table.align([run.pictures.items[row].id for row in rows])
    return torch.from_numpy(values)


def _copies(
    kinds: Mapping[str, Tensor], training: Tensor, selection: Selection, seed: int
) -> tuple[dict[str, dict[str, Any]], Neighbours]:
    """The nearest-neighbour check for every kind, pictures and training pictures given as vectors."""
    generator = torch.Generator().manual_seed(seed)
    # The scale is set by a sample: all pairs of training pictures would take their number squared.
    sample = torch.randperm(len(training), generator=generator)[: len(selection.others)]
    own, _ = nearest(training[sample], training, sample)
    shares, neighbours = {}, {}
    for name, vectors in kinds.items():
        share, distance, row = closeness(vectors, training, own, selection.references)
        shares[name], neighbours[name] = asdict(share), (distance, row)
    return shares, neighbours


def _pixels(images: Tensor) -> Tensor:
    """Pixels averaged two by two, as vectors."""
    return F.avg_pool2d(images, 2).flatten(1)
