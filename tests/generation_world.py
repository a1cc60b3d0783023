"""A catalogue of coloured shapes, and the smallest generator of the real classes that is trained on it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Generator

from generation.backbone.backbone import Backbone, UNet2DConditionModel
from generation.backbone.config import PretrainConfig
from generation.backbone.dual_encoder import train_dual_encoder
from generation.backbone.pretrain import train_unet
from generation.encoders.dual import OpenClipEncoder
from generation.gallery import Gallery, build_gallery, caption
from generation.language.config import LanguageConfig
from generation.language.small import train_language_model
from generation.pictures import read_pictures
from generation.ragar.config import RagarConfig
from generation.ragar.language import LanguageModel
from generation.ragar.ragar import Ragar
from generation.request import Request
from generation.training import Curves
from generation.words.captions import PaletteCaptioner
from generation.words.keywords import TfidfKeywords

COLOURS = {
    "red": (206, 34, 38),
    "orange": (236, 130, 34),
    "yellow": (246, 218, 64),
    "green": (52, 138, 66),
    "teal": (24, 124, 124),
    "blue": (44, 94, 196),
    "purple": (92, 30, 100),
    "pink": (240, 160, 184),
}
SHAPES = ("circle", "square", "bar")

TINY = PretrainConfig(
    start="scratch",
    task="image-to-image",
    image_height=48,
    image_width=32,
    latent_channels=8,
    unet_widths=(32, 32),
    encoder_width=32,
    encoder_layers=1,
    embed_dim=16,
    vocab_size=600,
    context=16,
    encoder_steps=3,
    unet_steps=3,
    batch_size=8,
)
EDIT = replace(TINY, task="edit", picture_rows=3)
SMALL = RagarConfig(
    k=2,
    history_length=4,
    n_keywords=3,
    image_tokens=2,
    text_rows=4,
    mapper_width=32,
    mapper_layers=1,
    steps=2,
    strength=0.6,
    guidance_scale=3.0,
)


@dataclass(frozen=True)
class Shape:
    """A catalogue row: satisfies `generation.request.Item` without importing a catalogue."""

    id: str
    title: str = ""
    tags: tuple[str, ...] = ()
    description: str = ""
    image: Path | None = None

    @property
    def text(self) -> str:
        return ". ".join(part for part in (self.title, ", ".join(self.tags), self.description) if part)


def draw(shape: str, colour: tuple[int, int, int], path: Path) -> Path:
    """The shape on white, 32 pixels wide and 48 high; PNG, so that it comes back exactly."""
    picture = Image.new("RGB", (32, 48), "white")
    brush = ImageDraw.Draw(picture)
    if shape == "circle":
        brush.ellipse((2, 10, 29, 37), fill=colour)
    else:
        brush.rectangle((4, 12, 27, 35) if shape == "square" else (10, 2, 21, 45), fill=colour)
    picture.save(path)
    return path


def catalogue(folder: Path) -> list[Shape]:
    """24 pictures, three shapes of each of eight colours (``"red-circle"``), and ``"hole"``, which has none."""
    items = [
        Shape(
            f"{colour}-{shape}",
            f"{colour} {shape} ({1950 + 10 * i})",
            (shape, colour),
            image=draw(shape, rgb, folder / f"{colour}-{shape}.png"),
        )
        for i, (colour, rgb) in enumerate(COLOURS.items())
        for shape in SHAPES
    ]
    return [*items, Shape("hole", "No picture (1999)", ("circle", "lost"))]


@dataclass(frozen=True)
class World:
    """The frozen parts, trained once for all tests; a test that trains makes its own :meth:`ragar` from them."""

    items: list[Shape]
    encoder: OpenClipEncoder
    backbone: Backbone
    gallery: Gallery
    curves: Curves

    def language(self, *, image_tokens: int = SMALL.image_tokens, text_rows: int = SMALL.text_rows) -> LanguageModel:
        """A new language model, whose [IMG] rows may be trained."""
        model, tokenizer = train_language_model(
            self.gallery.captions,
            LanguageConfig(hidden_size=32, layers=1, vocab_size=300, steps=2),
            curves=Curves(),
            progress=False,
        )
        generator = Generator().manual_seed(0)
        return LanguageModel(model, tokenizer, image_tokens=image_tokens, text_rows=text_rows, generator=generator)

    def gallery_of(self, dim: int) -> Gallery:
        """The gallery with random visual features of another width, at length 1."""
        rng = Generator().manual_seed(0)
        visual = torch.nn.functional.normalize(torch.randn(len(self.items), dim, generator=rng), dim=1)
        return replace(self.gallery, visual=visual * self.gallery.pictured[:, None])

    def ragar(self, config: RagarConfig = SMALL) -> Ragar:
        """A new generator on the shared frozen parts."""
        language = self.language(image_tokens=config.image_tokens, text_rows=config.text_rows)
        return Ragar(self.backbone, language, self.gallery, config, text_projection=self.encoder.text_projection)


def build_world(folder: Path) -> World:
    """Draw the catalogue, then train every model for three steps: enough for weights that are not the initial ones."""
    items = catalogue(folder)
    images = read_pictures(items, (TINY.image_height, TINY.image_width))
    captions = caption(items, images, PaletteCaptioner())
    curves = Curves()
    encoder = train_dual_encoder(captions[:24], images[:24], TINY, curves=curves, progress=False)
    backbone = train_unet(captions[:24], images[:24], encoder, TINY, curves=curves, progress=False)
    return World(items, encoder, backbone, build_gallery(items, images, captions, TfidfKeywords(3), encoder), curves)


def in_float64(ragar: Ragar) -> Backbone:
    """The generator's backbone with all parts in float64, and a fresh UNet with Stable Diffusion's own blocks.

    The small backbone's UNet also pools the words, and diffusers computes that softmax in float32 for any weights.
    """
    pipeline = copy.deepcopy(ragar.backbone.pipeline)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline.unet = UNet2DConditionModel(
            sample_size=6,
            in_channels=8,
            out_channels=8,
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=4,
        )
    for part in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
        part.double()
    return Backbone(pipeline, ragar.backbone.size)


def request(reference: str, *history: str, seed: int = 0, user: str = "u") -> Request:
    """A request in one line."""
    return Request(user=user, reference=reference, history=history, seed=seed)
