"""Training of PMG's soft preference: the target is denoised well under its condition, a random other item is not."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from generation.backbone.backbone import Backbone
from generation.backbone.pretrain import denoising_error
from generation.gallery import Gallery
from generation.pictures import to_float
from generation.request import Request
from generation.systems.pmg.pmg import Pmg
from generation.training import Curves, Resume, Training


def train_pmg(
    pmg: Pmg,
    requests: Sequence[Request],
    *,
    seed: int,
    curves: Curves,
    resume: Resume | None = None,
    progress: bool = True,
) -> None:
    """Train the soft preference for ``epochs`` passes over the requests (AdamW, warm-up and linear decay).

    Each step takes one of the repetitions of the preference's keywords, so that the soft rows are of use beside all of
    them.

    Raises:
        ValueError: the file of ``resume`` belongs to another training, or does not read.
    """
    config, generator = pmg.config, torch.Generator().manual_seed(seed)
    training = Training(
        "PMG: loss",
        pmg.soft.trained,
        examples=len(requests),
        batch_size=config.batch_size,
        steps=config.epochs * -(-len(requests) // config.batch_size),  # rounded up
        learning_rate=config.learning_rate,
        weight_decay=0.01,
        generator=generator,
        curves=curves,
        resume=resume,
        progress=progress,
    )
    for rows in training:
        batch = [requests[row] for row in rows.tolist()]
        # The order of the draws is part of the result: repetitions, negatives, then those of the loss.
        repetitions = config.repetitions[int(torch.randint(len(config.repetitions), (), generator=generator))]
        negatives = [negative_row(pmg.gallery, request, generator) for request in batch]
        targets = pmg.gallery.rows([request.reference for request in batch]).tolist()
        keywords = pmg.keywords(batch)
        condition = torch.cat([pmg.word_rows(keywords, repetitions), pmg.soft(pmg.prompts(keywords))], dim=1)
        wanted, unwanted = (to_float(pmg.gallery.images[of]) for of in (targets, negatives))
        loss = contrastive_denoising_loss(
            pmg.backbone, wanted, unwanted, condition, generator, negative_weight=config.negative_weight
        )
        training.update(loss)


def contrastive_denoising_loss(
    backbone: Backbone,
    target: Float[Tensor, "n 3 height width"],
    negative: Float[Tensor, "n 3 height width"],
    condition: Float[Tensor, "n rows dim"],
    generator: torch.Generator,
    *,
    negative_weight: float,
) -> Float[Tensor, ""]:
    """Denoising error of the target less ``negative_weight`` times that of the negative, under the same condition.

    Both get the same timesteps and noise, so that the difference says something about the pictures; every noise level
    weighs alike.
    """
    before = generator.get_state()
    wanted = denoising_error(backbone, target, condition, generator)
    generator.set_state(before)
    return wanted - negative_weight * denoising_error(backbone, negative, condition, generator)


def negative_row(gallery: Gallery, request: Request, generator: torch.Generator) -> int:
    """A random row with a picture, neither the request's target nor of its history; if these are all, not the target.

    Raises:
        ValueError: no other item has a picture.
    """
    target, pictured = int(gallery.rows([request.reference])), gallery.pictured.nonzero()[:, 0].tolist()
    seen = {target, *gallery.rows(request.history).tolist()}
    rows = [row for row in pictured if row not in seen] or [row for row in pictured if row != target]
    if not rows:
        raise ValueError(f"{request.reference} is the only item with a picture: there is nothing to tell it from")
    return rows[int(torch.randint(len(rows), (), generator=generator))]
