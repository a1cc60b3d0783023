"""Checks the config's choice of image encoders."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from generation.encoders.packaged import efficientnet_lite0_file
from generation.plugins import import_named

TIMM_MODELS = ("mobilenetv2_100",)
"""Models of timm whose weights lie in ``--weights``."""
PACKAGED: Mapping[str, Callable[[], Path]] = {"efficientnet_lite0": efficientnet_lite0_file}
"""Models whose weights come inside a pip package, and how their file is found."""
BUILT_IN = ("dual", *TIMM_MODELS, *PACKAGED, "hog", "color_layout")
"""Built-in image encoders, which a config names by one word; any other is ``package.module:name``."""


def encoder_conflicts(names: Sequence[str]) -> Iterator[str]:
    """Mistakes in the config's field ``image_encoder``, each as a sentence."""
    for name in names:
        try:
            if name in PACKAGED:
                PACKAGED[name]()
            elif name not in BUILT_IN:
                import_named("image encoder", name, BUILT_IN)
        except (ValueError, ImportError) as error:
            yield str(error)
