"""Checks the config's choice of image encoders."""

from collections.abc import Iterator, Sequence

from generation.plugins import import_named

TIMM_MODELS = ("mobilenetv2_100",)
"""Models of timm whose weights lie in ``--weights``."""
BUILT_IN = ("dual", *TIMM_MODELS, "hog")
"""Built-in image encoders, which a config names by one word; any other is ``package.module:name``."""


def encoder_conflicts(names: Sequence[str]) -> Iterator[str]:
    """Mistakes in the config's field ``image_encoder``, each as a sentence."""
    for name in names:
        try:
            _ = name in BUILT_IN or import_named("image encoder", name, BUILT_IN)
        except ValueError as error:
            yield str(error)
