"""The section ``models`` of the config: pretrained models of the generator, and the device on which they run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from generation import encoders
from generation.settings import INCIDENTAL

TIMM = "timm:"
"""Prefix of the names of timm's models."""


@dataclass(frozen=True)
class ModelsConfig:
    """Pretrained models in place of the small ones that are learned from the catalogue (the defaults)."""

    backbone: str | None = field(default=None, metadata=INCIDENTAL)
    """An SD-1.x pipeline's folder or hub name; ``backbone.image_height`` and ``image_width`` are its pictures' size."""
    encoder: str | None = field(default=None, metadata=INCIDENTAL)
    """An open_clip dual encoder's folder or hub name (``hf-hub:org/repo``), whose text tower the backbone has."""
    language: str | None = field(default=None, metadata=INCIDENTAL)
    """A causal LM's folder or hub name."""
    visual: str = "dual"
    """Encoder of the pictures that P_ret is computed from (eq. 4): ``dual``, or ``timm:NAME`` from ``--weights``."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device of the generator and the dual encoder."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the frozen models; trained parameters are float32."""
    channels_last: bool = False
    """Store convolutions' channels side by side: other rounding, often faster."""
    compile: bool = False
    """Run the UNet by ``torch.compile``: a minute at each new batch shape, other rounding, faster on a GPU."""

    def conflicts(self) -> Iterator[str]:
        """Models that do not go together or do not exist, and a GPU where there is none."""
        # Both None: the small models are trained together, on one text tower.
        if (self.backbone is None) != (self.encoder is None):
            yield (
                "backbone and encoder belong together: P_gen is compared with pictures through the projection of the "
                "dual encoder whose text tower the backbone has (SD-1.5: CLIP ViT-L/14)"
            )
        if self.visual != "dual" and not self.visual.startswith(TIMM):
            yield f"visual {self.visual!r} is neither dual nor {TIMM} with a name of timm's"
        elif self.visual != "dual" and (name := self.visual.removeprefix(TIMM)) not in (names := encoders.timm_names()):
            matches = get_close_matches(name, names, n=1)
            yield f"timm has no model {name!r}" + (f": do you mean {matches[0]}?" if matches else "")
        if self.device == "cuda" and not _torch().cuda.is_available():
            yield "device cuda: this machine, or this build of torch, has no GPU; take cpu"

    def visual_encoder(self, weights: Path | None) -> encoders.TimmEncoder | None:
        """The encoder of pictures for P_ret; None if it is the dual encoder.

        Args:
            weights: the folder that holds ``NAME/model.safetensors``.

        Raises:
            FileNotFoundError: it is not given, or not there; the message says how to get it.
        """
        if self.visual == "dual":
            return None
        name = self.visual.removeprefix(TIMM)
        if weights is None:
            raise FileNotFoundError(f"{self.visual} needs pretrained weights: name the folder of {name}/ by --weights")
        return encoders.TimmEncoder.from_pretrained(name, weights, size=None)

    @property
    def place(self) -> dict[str, Any]:
        """Keyword arguments for :meth:`generation.ragar.ragar.Ragar.place`."""
        dtype = getattr(_torch(), self.precision)
        settings = {"channels_last": self.channels_last, "compiled": self.compile}
        return {"device": self.device, "dtype": dtype, **settings}


def _torch() -> Any:
    # Imported late: a config is read, and its mistakes are said, before torch takes its seconds.
    import torch

    return torch
