"""Image encoders of the user's own: ``package.module:name``, or an object that was built in Python."""

from typing import Any, cast

from torch import nn

from generation.encoders.choice import BUILT_IN
from generation.encoders.encoder import ImageEncoder
from generation.plugins import call_named, import_named, keywords_for

MEMBERS = ("name", "dim", "encode_images")
"""What an :class:`ImageEncoder` has."""


def load_encoder(name: str, size: tuple[int, int]) -> ImageEncoder:
    """Build the image encoder of ``package.module:name``, a class or function without required arguments.

    A module of torch is switched to evaluation and its weights are frozen.

    Args:
        name: as it was typed.
        size: (height, width) in pixels of the pictures that it will be given; passed if it has an argument ``size``.

    Raises:
        ValueError: the name cannot be imported or called so, or what it returns is no image encoder.
    """
    factory = import_named("image encoder", name, BUILT_IN)
    encoder: Any = call_named(
        "an image encoder",
        name,
        "size=(height, width) if it has such an argument, else with nothing,",
        lambda: factory(**keywords_for(factory, {"size": size})),
    )
    if isinstance(encoder, nn.Module):
        encoder.eval().requires_grad_(False)
    check_encoder(encoder, f"{name} gave {type(encoder).__name__}, which")
    return cast("ImageEncoder", encoder)


def check_encoder(encoder: object, subject: str | None = None) -> None:
    """Refuse an object that is no image encoder, or one that gives other features each time.

    Args:
        encoder: the object.
        subject: how the message begins; by default with the class of the object.

    Raises:
        ValueError: it lacks ``name``, ``dim`` or ``encode_images``, or is a module of torch that is being trained.
    """
    subject = subject or f"a {type(encoder).__name__}"
    if missing := [member for member in MEMBERS if not hasattr(encoder, member)]:
        raise ValueError(
            f"{subject} is no image encoder: it has no {', '.join(missing)}; an image encoder has a name, the dim of "
            "its features, and encode_images(images) -> features"
        )
    # Batch norm and dropout would make other features at each call.
    if isinstance(encoder, nn.Module) and encoder.training:
        raise ValueError(f"{subject} is in training mode: call its eval() first")
