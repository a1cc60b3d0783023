"""Random generators of a call in diffusers' style, and the seeds that reproduce its pictures."""

from collections.abc import Sequence

import torch
from torch import Generator


def generators_and_seeds(
    generator: Generator | Sequence[Generator] | None, seeds: Sequence[int] | None, num_images: int
) -> tuple[Generator | list[Generator], list[int | None]]:
    """The generators that diffusers draws the initial noise from, and each picture's seed (None if no seed repeats it).

    Args:
        generator: one for all pictures, or one a picture, as diffusers takes them.
        seeds: one a picture, in place of generators. With neither, each picture gets a new random seed.
        num_images: pictures; 1 also where seeds or generators say how many.

    Raises:
        ValueError: both seeds and generators are given, or their number is not that of the pictures.
    """
    if generator is not None and seeds is not None:
        raise ValueError("give seeds or a generator, not both")
    if isinstance(generator, Generator) and num_images != 1:
        # diffusers draws the noise of the whole batch from it at once: no picture has a seed of its own.
        return generator, [None] * num_images
    if seeds is not None:
        generators = [Generator().manual_seed(seed) for seed in seeds]
    elif generator is None:
        generators = [Generator() for _ in range(num_images)]
        for fresh in generators:
            fresh.seed()  # from the operating system: torch's global generator is not touched
    else:
        generators = [generator] if isinstance(generator, Generator) else list(generator)
    if num_images not in (1, len(generators)) or not generators:
        raise ValueError(f"{num_images} pictures need as many seeds or generators, got {len(generators)}")
    return generators, [each.initial_seed() if _is_fresh(each) else None for each in generators]


def _is_fresh(generator: Generator) -> bool:
    """Whether nothing has been drawn from it since it was seeded."""
    fresh = Generator(generator.device).manual_seed(generator.initial_seed())
    return torch.equal(generator.get_state(), fresh.get_state())
