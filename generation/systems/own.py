"""A generator of the user's own: ``package.module:name``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from generation.plugins import call_named, import_named, keywords_for
from generation.request import Generator, Request
from generation.systems.choice import SYSTEMS


def load_generator(name: str, available: Mapping[str, Callable[[], Any]]) -> "OwnGenerator":
    """Build the generator of ``package.module:name``, a class or function that is called with what it asks for.

    Args:
        name: as it was typed.
        available: keyword arguments that it may have, each as a function that makes the value when it is asked for.

    Raises:
        ValueError: the name cannot be imported or called so, or what it returns is no generator.
    """
    factory = import_named("system", name, SYSTEMS)
    arguments = f"those of the keyword arguments {', '.join(available)} that it has"
    # Made outside the call: what goes wrong there is no fault of the user's code.
    keywords = {keyword: value() for keyword, value in keywords_for(factory, available).items()}
    generator = call_named("a generator", name, arguments, lambda: factory(**keywords))
    if isinstance(generator, nn.Module):
        generator.eval().requires_grad_(False)  # dropout would make another picture of the same request
    if not isinstance(generator, Generator):
        raise ValueError(
            f"{name} gave {type(generator).__name__}, no generator: that has generate(requests) -> images in [0, 1]"
        )
    return OwnGenerator(name, generator)


class OwnGenerator:
    """A generator whose pictures are checked.

    Args:
        name: where it comes from, for messages.
        generator: the user's.
    """

    def __init__(self, name: str, generator: Generator) -> None:
        self.name, self.generator = name, generator
        self._size: tuple[int, ...] | None = None

    def generate(self, requests: Sequence[Request]) -> Float[Tensor, "n 3 height width"]:
        """Pictures in [0, 1], as float32 on the CPU.

        Raises:
            ValueError: they are no such pictures.
        """
        with torch.no_grad():
            images = self.generator.generate(requests)
        if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[:2] != (len(requests), 3):
            got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise ValueError(
                f"{self.name} gave {got} for {len(requests)} requests; it must give a float tensor of shape "
                f"({len(requests)}, 3, height, width)"
            )
        # Bytes are the likeliest mistake: 0 to 255, which would all be white.
        if not images.is_floating_point() or not bool(((images >= 0) & (images <= 1)).all()):
            low, high = float(images.min()), float(images.max())
            raise ValueError(
                f"{self.name} gave {images.dtype} from {low:g} to {high:g}; pictures are float tensors in [0, 1]"
            )
        self._size = self._size or tuple(images.shape[2:])
        if images.shape[2:] != self._size:
            raise ValueError(
                f"{self.name} gave pictures of {' x '.join(map(str, self._size))} first and of "
                f"{' x '.join(map(str, images.shape[2:]))} now; all must have one size"
            )
        return images.float().cpu()
