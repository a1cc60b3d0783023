"""The frozen parts of RAGAR: pictures, words, dual encoder, backbone, IP-Adapter and language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from generation.backbone.adapter import AdapterTokens
from generation.backbone.backbone import Backbone
from generation.backbone.config import SamplingConfig
from generation.checkpoint import read_tensors, require
from generation.encoders.encoder import encode_in_blocks
from generation.gallery import Gallery, build_gallery
from generation.language.loading import load_language_model
from generation.models import ADAPTER_FILE, TOWER, ModelsConfig
from generation.pictures import to_float
from generation.ragar.config import RagarConfig
from generation.ragar.language import LanguageModel
from generation.ragar.projection import fit_projection
from generation.ragar.ragar import Ragar
from generation.words.config import WordsConfig
from generation.words.models import caption_encoder
from ragar_rec.stages.catalogue import Pictures
from ragar_rec.stages.masks import Masks
from ragar_rec.stages.models import DualEncoder, LanguageTraining, UNetTraining
from ragar_rec.stages.stage import Keyed, Stage, Workspace
from ragar_rec.stages.weights import Weights
from ragar_rec.stages.words import Keywords, LlmKeywords
from ragar_rec.store.hashing import digest, hash_file

ADAPTER_PICTURES = 256
"""Pictures by which the length of its picture tower's features is measured."""


@dataclass(frozen=True, eq=False)
class Components(Keyed):
    """The frozen parts of RAGAR: everything but the trained weights that a generated picture depends on.

    Attributes:
        pictures: of the catalogue.
        keywords: of the items, with their captions.
        encoder: the dual encoder.
        backbone: the diffusion pipeline's weights.
        language: the language model's weights.
        models: where and how they run.
        words: by which encoder captions are compared; prompts and models count by their contents, below.
        prompt: p_g.
        visual_weights: of the model of timm's whose features make P_ret, if it is not the dual encoder.
        sentences: sentence-transformers' weights, if captions are compared by them and not by the dual encoder.
        masks: of what generated pictures keep of the items' own, if they keep anything.
        adapter: the IP-Adapter's weights with those of its picture tower, if the backbone has one.
    """

    pictures: Pictures
    keywords: Keywords | LlmKeywords
    encoder: DualEncoder
    backbone: Weights | UNetTraining
    language: Weights | LanguageTraining
    models: ModelsConfig
    words: WordsConfig
    prompt: str
    visual_weights: Path | None = None
    sentences: Weights | None = None
    masks: Masks | None = None
    adapter: Weights | None = None

    @cached_property
    def gallery_content(self) -> str:
        """Hash of what the gallery is made of: not of backbone and language model, which need not be trained for it."""
        weights = None if self.visual_weights is None else hash_file(self.visual_weights)
        parts: list[Keyed | None] = [
            self.pictures,
            self.keywords,
            self.encoder,
            self.sentences,
            self.masks,
            self.adapter,
        ]
        contents = [None if part is None else part.content for part in parts]
        return digest([*contents, self.models.visual, self.words.semantic, weights])

    @cached_property
    def gallery(self) -> Gallery:
        """The catalogue as the generator sees it."""
        pictures, encoder, captions = self.pictures, self.encoder.model, self.keywords.captions.texts
        return build_gallery(
            pictures.items,
            pictures.images,
            captions,
            self.keywords.extractor,
            encoder,
            caption_encoder(self.words, encoder),
            self.models.visual_encoder(self.workspace.weights),
            None if self.masks is None else self.masks.kept,
        )

    @cached_property
    def pipeline(self) -> Backbone:
        """The loaded backbone."""
        loaded = Backbone.from_pretrained(self.backbone.path, self.pictures.size, self._adapter_tokens())
        return loaded.to(**self.models.place)

    def _adapter_tokens(self) -> AdapterTokens | None:
        """The IP-Adapter's rows of pictures, if there is one."""
        if self.adapter is None or (tower := self.models.visual_encoder(None)) is None:
            return None
        weights = read_tensors(Path(self.adapter.path) / ADAPTER_FILE)
        some = self.pictures.images[self.pictures.pictured_rows[:ADAPTER_PICTURES]]
        # The gallery has features at length 1, the adapter was trained on features as they are.
        return AdapterTokens(weights, float(encode_in_blocks(tower, some).square().sum(1).mean().sqrt()))

    @cached_property
    def text_projection(self) -> Tensor:
        """From the text encoder's rows to the features of pictures: the dual encoder's own where both are its own."""
        if self.models.visual == "dual":
            return self.encoder.model.text_projection.cpu()
        return fit_projection(self.pipeline, self.gallery)

    def reconstruct(self, ids: Sequence[str], sampling: SamplingConfig) -> Tensor:
        """What the generator's domain makes of items' own pictures by itself, except for what is kept of them.

        A backbone that edits draws each from its own feature, without a word; any other passes it through its codec.
        """
        pipeline, gallery = self.pipeline, self.gallery
        rows = gallery.rows(ids)
        images = to_float(gallery.images[rows])
        if (tokens := pipeline.picture_tokens) is None:
            return gallery.keep(pipeline.reconstruct(images), rows)
        with torch.no_grad():
            pictures = tokens(gallery.visual[rows].to(tokens.mean))
            condition = torch.cat([pictures, pipeline.empty.expand(len(pictures), -1, -1)], dim=1)
            drawn = pipeline.draw(condition, images, [0] * len(images), sampling)
        return gallery.keep(drawn.cpu(), rows)

    @property
    def trained_folders(self) -> list[Path]:
        """Folders of the small models that were trained on the catalogue, in the order of their training."""
        weights = (self.encoder.weights, self.backbone, self.language)
        return [stage.folder for stage in weights if isinstance(stage, Stage)]

    def new_generator(self, settings: RagarConfig) -> Ragar:
        """RAGAR on these parts, with fresh weights."""
        model, tokenizer = load_language_model(self.language.path)
        language = LanguageModel(
            model,
            tokenizer,
            image_tokens=settings.image_tokens,
            text_rows=settings.text_rows,
            generator=torch.Generator().manual_seed(settings.seed),
        )
        projection = self.text_projection
        ragar = Ragar(self.pipeline, language, self.gallery, settings, text_projection=projection, prompt=self.prompt)
        return ragar.place(**self.models.place)


def adapter_weights(workspace: Workspace, folder: str | None) -> Weights | None:
    """The IP-Adapter in a folder; None without a folder.

    Raises:
        FileNotFoundError: a file is missing: said before items are described.
        ValueError: weights are pickled.
    """
    if folder is None:
        return None
    require(Path(folder), ADAPTER_FILE)
    require(Path(folder) / TOWER, "config.json", "*.safetensors")
    return Weights(workspace, folder)
