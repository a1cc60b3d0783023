"""One folder with a generator and everything that it needs: trained parts, backbone, language model and gallery."""

from pathlib import Path

from safetensors.torch import save_file
from torch import Generator

from generation.backbone.backbone import Backbone
from generation.checkpoint import read_tensors
from generation.gallery import Gallery
from generation.language.loading import load_language_model
from generation.ragar.language import LanguageModel
from generation.ragar.ragar import Ragar
from generation.ragar.saving import read_config

PROJECTION = "text_projection.safetensors"


def save_with_frozen_parts(ragar: Ragar, folder: Path, *, gallery: bool) -> None:
    """Write the generator and its frozen parts; each part is also read by its own library.

    Raises:
        FileExistsError: the gallery is to be left out, and the folder holds another generator's.
    """
    if not gallery and (folder / "gallery").exists():
        raise FileExistsError(f"{folder / 'gallery'} would pass for this generator's: take another folder")
    ragar.save_pretrained(folder)
    # Not the sampling backbone: LoRA has a file of its own, and this folder is that of any Stable Diffusion pipeline.
    ragar.backbone.save_pretrained(folder / "backbone")
    ragar.language.model.save_pretrained(folder / "language")
    ragar.language.tokenizer.save_pretrained(folder / "language")
    save_file({"text_projection": ragar.text_projection.contiguous()}, folder / PROJECTION)
    if gallery:
        ragar.gallery.save_pretrained(folder / "gallery")


def load_with_frozen_parts(folder: Path, gallery: Gallery | None = None) -> Ragar:
    """Read the generator and its frozen parts; ``gallery`` may replace the saved one.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: one does not read, is a pickle, or belongs to another generator.
    """
    config = read_config(folder)
    gallery = Gallery.from_pretrained(folder / "gallery") if gallery is None else gallery
    height, width = gallery.images.shape[-2:]
    model, tokenizer = load_language_model(folder / "language")
    language = LanguageModel(
        model,
        tokenizer,
        image_tokens=config.image_tokens,
        text_rows=config.text_rows,
        generator=Generator().manual_seed(config.seed),
    )
    backbone = Backbone.from_pretrained(folder / "backbone", (height, width))
    projection = read_tensors(folder / PROJECTION)["text_projection"]
    return Ragar.from_pretrained(folder, backbone, language, gallery, text_projection=projection)
