"""The encoders that a config names, and the frame in which they see a catalogue's pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from generation import encoders
from generation.encoders.choice import PACKAGED, TIMM_MODELS, encoder_conflicts
from generation.encoders.packaged import minilm_folder
from generation.framing import choose_frame
from ragar_rec import stages
from ragar_rec.config.config import Config

SMALL, FULL_SIZE, FILES = (96, 64), (512, 512), (192, 128)
"""Frames whose areas those of the small generator, of SD-1.x and of encoders that read files have."""


@dataclass(frozen=True)
class FeatureSources:
    """Makes the sources of features of one experiment.

    Attributes:
        config: the whole tree.
        workspace: of its stages.
        catalogue: whose items.
    """

    config: Config
    workspace: stages.Workspace
    catalogue: stages.Catalogue

    def generator_frame(self) -> tuple[int, int]:
        """(height, width) of generated pictures."""
        backbone = self.config.backbone
        like, multiple = (SMALL, 8) if self.config.models.backbone is None else (FULL_SIZE, 64)
        return self._frame(like, multiple, backbone.image_height, backbone.image_width)

    def text(self) -> stages.TextFeatures | stages.SentenceFeatures:
        """Who makes features of the items' texts."""
        if self.config.features.text_encoder == "tfidf":
            return stages.TextFeatures(self.workspace, self.catalogue, self.config.features.text_dim)
        weights = stages.Weights(self.workspace, str(minilm_folder()))
        return stages.SentenceFeatures(self.workspace, self.catalogue, weights)

    def image(
        self, encoder: stages.EncoderChoice, pictures: stages.Pictures, dual: Callable[[], stages.DualEncoder]
    ) -> stages.PictureEncoder:
        """Who makes features of the items' pictures; several encoders put theirs side by side.

        Args:
            encoder: by name or as an object, or a list of such.
            pictures: of the catalogue.
            dual: makes the dual encoder, if it is asked for.

        Raises:
            ValueError: there is no encoder of that name.
        """
        if isinstance(encoder, str) or not isinstance(encoder, Sequence):
            return self._single(encoder, pictures, dual)
        parts = tuple(self._single(part, pictures, dual) for part in encoder)
        return parts[0] if len(parts) == 1 else stages.SeveralPictureEncoders(self.workspace, parts)

    def _single(
        self, encoder: str | encoders.ImageEncoder, pictures: stages.Pictures, dual: Callable[[], stages.DualEncoder]
    ) -> stages.SinglePictureEncoder:
        if encoder == "dual":
            return stages.DualPictureEncoder(self.workspace, pictures, dual())
        settings = self.config.features
        # Multiples of 8: the cells of HOG divide them.
        size = self._frame(FILES, 8, settings.image_height, settings.image_width)
        if not isinstance(encoder, str):
            return stages.ObjectPictureEncoder(self.workspace, pictures, encoder, *size)
        for problem in encoder_conflicts([encoder]):
            raise ValueError(problem)
        if encoder in PACKAGED:
            weights = PACKAGED[encoder]()
        else:
            weights = self.workspace.weights_file(encoder) if encoder in TIMM_MODELS else None
        return stages.FilePictureEncoder(self.workspace, pictures, encoder, *size, weights)

    def _frame(self, like: tuple[int, int], multiple: int, height: int, width: int) -> tuple[int, int]:
        # Headers of pictures are read only where their proportions count.
        shapes = [] if height and width else self.catalogue.shapes
        return choose_frame(shapes, like, multiple=multiple, height=height, width=width)
