"""What the pictures are like: copies of training pictures, Fréchet distances, and sheets to look at.

    python experiments/pictures.py --config experiments/configs/movie-posters.yaml --data <folder> --weights <folder> \
        --output <folder>

The config keeps a share of the pictures from the backbone (`backbone.held_out`), by which it is judged.

Hardware: two CPU cores. Minutes and expected numbers: docs/results.md. Stages that the output folder's store has are
reused, the others are trained. Writes `pictures/pictures.json` and `pictures/*.png` there; the sheets show the
catalogue's own pictures, whose rights are their owners'.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor
from tqdm.auto import tqdm

from generation.encoders.encoder import encode_in_blocks
from generation.pictures import to_bytes, to_float, to_pil
from generation.ragar.ragar import Ragar
from generation.request import Request
from ragar_rec.cli import sentence
from ragar_rec.evaluation.fidelity import closeness, frechet_distance, identity, nearest, palette_shift, psnr
from ragar_rec.evaluation.frames import BATCH, Global, generate_in_batches
from ragar_rec.evaluation.people import request_seed, training_requests
from ragar_rec.experiment import Experiment
from ragar_rec.pipeline import provenance
from recsys.features import FeatureTable

SCALE = 2
"""Pixels of a sheet for a pixel of a picture."""
OWN_WORDS, OTHERS_WORDS = "by its own caption", "by another's caption"
"""Image-to-image by the backbone alone: each reference by its caption, and by that of the next one."""


@dataclass(frozen=True)
class Args:
    """What the experiment takes; any key of the config besides, as ``--generator.strength=0.5``."""

    config: Path = Path(__file__).parent / "configs" / "ml-100k.yaml"
    data: Path | None = None
    weights: Path | None = None
    output: Path = Path("output") / "rq4"
    n: int = 1000
    """Pictures of each kind, and real ones that they are compared with; fewer if fewer were kept."""
    steps: int = 10
    """Denoising steps of the backbone's own samples from noise."""
    guidance_scale: float = 2.0
    """Guidance of its conditional samples."""
    references: int = 8
    """Rows of the sheet of people."""
    people: int = 5
    """People on it, for each of whom every reference is rendered."""
    draw_seed: int = 0
    """Of who and what is drawn, and of the noise."""


@dataclass(frozen=True)
class Drawn:
    """Rows of the catalogue: two disjoint sets of real pictures, and what the backbone was trained on."""

    judges: list[int]
    """What everything is compared with."""
    others: list[int]
    """The floor; their captions condition the samples, and they are the references of v_gen."""
    training: list[int]

    @property
    def references(self) -> Tensor:
        """Where each of ``others`` stands in ``training``; -1 if it was kept from it."""
        place = {row: at for at, row in enumerate(self.training)}
        return torch.tensor([place.get(row, -1) for row in self.others])


def draw(run: Experiment, n: int, seed: int) -> Drawn:
    """Held-out pictures if there are any (``backbone.held_out``), else training pictures.

    Raises:
        ValueError: there are too few for two sets.
    """
    rows = run.encoder.weights.held_out_rows or run.encoder.weights.rows
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    n = min(n, len(rows) // 2)
    if n < 2:
        raise ValueError(f"{len(rows)} pictures make no two sets of at least 2: raise backbone.held_out")
    chosen = [rows[at] for at in order[: 2 * n]]
    return Drawn(chosen[:n], chosen[n:], run.encoder.weights.rows)


def from_noise(run: Experiment, captions: Sequence[str], args: Args) -> Tensor:
    """The backbone's samples; empty captions are the unconditional ones, made without guidance."""
    parts = []
    kind = "conditional" if any(captions) else "unconditional"
    for start in tqdm(range(0, len(captions), BATCH), desc=kind, unit=f"x{BATCH}"):
        states = run.components.pipeline.states(captions[start : start + BATCH])
        seeds = [request_seed(args.draw_seed, "noise", str(start + at)) for at in range(len(states))]
        negative, scale = (
            run.components.pipeline.states([""] * len(states)),
            args.guidance_scale if any(captions) else 1.0,
        )
        parts.append(
            run.components.pipeline.sample(
                states, negative, None, seeds, steps=args.steps, strength=1.0, guidance_scale=scale
            ).cpu()
        )
    return torch.cat(parts)


def image_to_image(run: Experiment, captions: Sequence[str], references: Tensor, seed: int) -> Tensor:
    """The backbone's renderings of references by a caption each, with the generator's steps, strength and guidance."""
    settings, parts = run.config.generator, []
    for start in tqdm(range(0, len(captions), BATCH), desc="image to image", unit=f"x{BATCH}"):
        states = run.components.pipeline.states(captions[start : start + BATCH])
        seeds = [request_seed(seed, "image-to-image", str(start + at)) for at in range(len(states))]
        parts.append(
            run.components.pipeline.sample(
                states,
                run.components.pipeline.empty.expand_as(states),
                references[start : start + BATCH],
                seeds,
                steps=settings.steps,
                strength=settings.strength,
                guidance_scale=settings.guidance_scale,
            ).cpu()
        )
    return torch.cat(parts)


def requests_for(run: Experiment, rows: Sequence[int], seed: int) -> list[Request]:
    """Each row as the reference of somebody whom the generator was not trained on, her own interactions left out."""
    own = training_requests(run.ranker.dataset, run.system.people.test, run.pictures.pictured, seed)
    made = []
    for at, row in enumerate(rows):
        person, item = own[at % len(own)], run.pictures.items[row].id
        history = tuple(past for past in person.history if past != item) or person.history
        made.append(Request(person.user, item, history, request_seed(seed, person.user, item)))
    return made


def pictures(run: Experiment, drawn: Drawn, args: Args) -> dict[str, Tensor]:
    """Every kind of picture, as many of each, in [0, 1]."""
    real = to_float(run.pictures.images[drawn.others])
    asked = requests_for(run, drawn.others, args.draw_seed)
    captions = [run.components.keywords.captions.texts[row] for row in drawn.others]
    return {
        "real at the generator's size": real,
        "reconstruction": torch.cat([run.components.pipeline.reconstruct(part) for part in real.split(BATCH)]),
        "conditional": from_noise(run, captions, args),
        "unconditional": from_noise(run, [""] * len(captions), args),
        OWN_WORDS: image_to_image(run, captions, real, args.draw_seed),
        OTHERS_WORDS: image_to_image(run, [*captions[1:], *captions[:1]], real, args.draw_seed),
        "v_gen": generate_in_batches(run.generator, asked, description="v_gen"),
        "v_glob": generate_in_batches(Global(run.generator), asked, description="v_glob"),
        "v_gen from noise": generate_in_batches(beginning_in_noise(run, args), asked, description="from noise"),
    }


def beginning_in_noise(run: Experiment, args: Args) -> Ragar:
    """The trained generator as text-to-image."""
    return run.system.warm.load(run.system.folder, text_to_image=True, steps=args.steps)


def real_features(run: Experiment, rows: Sequence[int]) -> Tensor:
    """The catalogue's own features, from the files at the encoder's size."""
    values, _ = FeatureTable.read(run.features.folder / "image.safetensors").align(
        [run.pictures.items[row].id for row in rows]
    )
    return torch.from_numpy(values)


def frechet(run: Experiment, drawn: Drawn, features: Mapping[str, Tensor]) -> dict[str, float]:
    """Every kind against the same real pictures; real against real is the floor."""
    judges = real_features(run, drawn.judges)
    sets = {"real": real_features(run, drawn.others), **{name: f - run.features.mean for name, f in features.items()}}
    return {name: frechet_distance(values, judges) for name, values in sets.items()}


def copies(
    kinds: Mapping[str, Tensor], training: Tensor, drawn: Drawn, seed: int
) -> tuple[dict[str, dict[str, Any]], dict[str, tuple[Tensor, Tensor]]]:
    """The nearest-neighbour check for every kind; and each picture's distance and neighbour (a row of training)."""
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randperm(len(training), generator=generator)[: len(drawn.others)]
    own, _ = nearest(training[sample], training, sample)
    shares, found = {}, {}
    for name, vectors in kinds.items():
        share, distance, row = closeness(vectors, training, own, drawn.references)
        shares[name], found[name] = asdict(share), (distance, row)
    return shares, found


def pixels(images: Tensor) -> Tensor:
    """Pixels averaged two by two, as vectors."""
    return F.avg_pool2d(images, 2).flatten(1)


def sheet(columns: Mapping[str, Tensor], file: Path) -> None:
    """Pictures in a grid: a column a kind, each picture ``SCALE`` times enlarged."""
    height, width = (SCALE * side for side in next(iter(columns.values())).shape[-2:])
    longest = max(map(len, columns.values()))
    canvas = Image.new("RGB", (len(columns) * (width + 6) + 6, longest * (height + 6) + 24), "white")
    pen = ImageDraw.Draw(canvas)
    for at, (name, images) in enumerate(columns.items()):
        left = 6 + at * (width + 6)
        pen.text((left, 6), name, fill="black")
        for row, image in enumerate(to_bytes(images)):
            large = to_pil(image).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(large, (left, 24 + row * (height + 6)))
    canvas.save(file)


def people_sheet(run: Experiment, args: Args, file: Path) -> None:
    """References of people kept from the generator's training, rendered for several of them, for nobody, from noise."""
    own = training_requests(run.ranker.dataset, run.system.people.test, run.pictures.pictured, args.draw_seed)
    shown, people = own[: args.references], own[-args.people :]
    rows = run.components.gallery.rows([request.reference for request in shown])
    columns = {"reference": to_float(run.pictures.images[rows])}
    for person in people:
        asked = [replace(request, user=person.user, history=person.history) for request in shown]
        columns[f"for {person.user}"] = run.generator.generate(asked)
    columns["v_glob"] = run.generator.generate_global(shown)
    columns[f"noise, for {people[-1].user}"] = beginning_in_noise(run, args).generate(
        [replace(request, user=people[-1].user, history=people[-1].history) for request in shown]
    )
    sheet(columns, file)


def closest_sheet(
    kinds: Mapping[str, Tensor], found: Mapping[str, tuple[Tensor, Tensor]], training: Tensor, rows: int, file: Path
) -> None:
    """Of each kind the pictures that are nearest to a training picture, beside it."""
    columns = {}
    for name, images in kinds.items():
        distance, row = found[name]
        first = distance.argsort()[:rows]
        columns[name], columns[f"nearest to {name}"] = images[first], to_float(training[row[first]])
    sheet(columns, file)


def measure(run: Experiment, args: Args) -> dict[str, Any]:
    """All numbers, and the sheets."""
    drawn, folder = draw(run, args.n, args.draw_seed), run.output / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    people_sheet(run, args, folder / "people.png")
    kinds, training = pictures(run, drawn, args), run.pictures.images[drawn.training]
    sheet({name: images[: args.references] for name, images in kinds.items()}, folder / "kinds.png")
    encoder = run.features.encoder
    features = {name: encode_in_blocks(encoder, images, BATCH) for name, images in kinds.items()}
    near, found = copies(features, encode_in_blocks(encoder, training, BATCH), drawn, args.draw_seed)
    by_pixel, _ = copies(
        {name: pixels(images) for name, images in kinds.items()},
        torch.cat([pixels(to_float(part)) for part in training.split(BATCH)]),
        drawn,
        args.draw_seed,
    )
    real = kinds["real at the generator's size"]
    kept = {
        name: identity(values, features["real at the generator's size"], run.features.mean)
        for name, values in features.items()
    }
    made = {name: images for name, images in kinds.items() if name in ("conditional", "v_gen", "v_gen from noise")}
    closest_sheet(made, found, training, args.references, folder / "closest.png")
    return {
        "pictures": len(drawn.others),
        "compared_with": "pictures kept from the backbone"
        if run.encoder.weights.held_out_rows
        else "pictures that the backbone learned",
        "training_pictures": len(drawn.training),
        "encoder": encoder.name,
        "psnr_of_reconstruction": psnr(kinds["reconstruction"], real),
        "frechet": frechet(run, drawn, features),
        "identity": kept,
        "palette_shift": palette_shift(kinds[OTHERS_WORDS], kinds[OWN_WORDS], real, real.roll(-1, 0)),
        "copies_in_features": near,
        "copies_in_pixels": by_pixel,
        "arguments": {name: str(value) for name, value in asdict(args).items()},
        "run": provenance(run),
    }


def show(results: Mapping[str, Any]) -> None:
    """The numbers as a table."""
    print(f"\n{results['pictures']} of each kind, against {results['pictures']} {results['compared_with']}")
    print(f"reconstruction: {results['psnr_of_reconstruction']:.1f} dB")
    print(f"another's caption moves the palette by {results['palette_shift']:.2f} of the way to that other's")
    titles = "nearer to a training picture than its twin  below the 5 % quantile  (features; pixels)"
    print(f"{'':30} Fréchet  identity  {titles}")
    for name, distance in results["frechet"].items():
        line = f"{name:30} {distance:7.1f}"
        if name in results["copies_in_features"]:
            line += f"  {results['identity'][name]:8.3f}"
            first, second = results["copies_in_features"][name], results["copies_in_pixels"][name]
            for key in ("closer_than_training", "below_5_percent"):
                line += f"  {100 * first[key]:5.1f} % {100 * second[key]:5.1f} %"
        print(line)


def main(arguments: list[str] | None = None) -> int:
    """Measure and look; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    for name, default in vars(Args()).items():
        kind = type(default) if isinstance(default, (int, float)) else Path
        flags = dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}"))
        parser.add_argument(*flags, type=kind, default=default)
    options, overrides = parser.parse_known_args(arguments)
    args = Args(**vars(options))
    try:
        run = Experiment.open(args.config, overrides, args.data, args.weights, args.output)
        results = measure(run, args)
    except (ValueError, LookupError, OSError) as error:
        print(f"pictures: {sentence(error)}", file=sys.stderr)
        return 2
    (run.output / "pictures" / "pictures.json").write_text(json.dumps(results, indent=1))
    show(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
