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
ADAPTER, ADAPTER_FILE, TOWER = "ip-adapter", "ip-adapter_sd15.safetensors", "image_encoder"
"""The config's name of an IP-Adapter's own picture tower; the adapter's file and the tower's folder, in one folder."""


@dataclass(frozen=True)
class ModelsConfig:
    """Pretrained models in place of the small ones that are learned from the catalogue (the defaults)."""

    backbone: str | None = field(default=None, metadata=INCIDENTAL)
    """An SD-1.x pipeline's folder or hub name; ``backbone.image_height`` and ``image_width`` are its pictures' size."""
    encoder: str | None = field(default=None, metadata=INCIDENTAL)
    """An open_clip dual encoder's folder or hub name (``hf-hub:org/repo``), whose text tower the backbone has."""
    language: str | None = field(default=None, metadata=INCIDENTAL)
    """A causal LM's folder or hub name."""
    ip_adapter: str | None = field(default=None, metadata=INCIDENTAL)
    """The folder of an IP-Adapter, ``ip-adapter_sd15.safetensors`` beside ``image_encoder/``: what was retrieved
    and a person's taste reach the UNet as its rows. Needs ``visual: ip-adapter``."""
    visual: str = "dual"
    """Encoder of the pictures that P_ret is computed from (eq. 4): ``dual``, ``timm:NAME`` from ``--weights``, or
    ``ip-adapter``, the adapter's own."""
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
        if (self.ip_adapter is None) != (self.visual != ADAPTER):
            yield f"ip_adapter and visual: {ADAPTER} belong together: the adapter reads features of its own"
        elif self.ip_adapter is not None and self.backbone is None:
            yield "ip_adapter is made for SD-1.x: name its pipeline by backbone (the small one has rows of its own)"
        name = self.visual.removeprefix(TIMM) if self.visual.startswith(TIMM) else None
        if name is None and self.visual not in ("dual", ADAPTER):
            yield f"visual {self.visual!r} is neither dual nor {ADAPTER} nor {TIMM} with a name of timm's"
        elif name is not None and name not in (names := encoders.timm_names()):
            matches = get_close_matches(name, names, n=1)
            yield f"timm has no model {name!r}" + (f": do you mean {matches[0]}?" if matches else "")
        if self.device == "cuda" and not _torch().cuda.is_available():
            yield "device cuda: this machine, or this build of torch, has no GPU; take cpu"

    def visual_encoder(self, weights: Path | None) -> encoders.TimmEncoder | encoders.ClipVisionEncoder | None:
        """The encoder of pictures for P_ret; None if it is the dual encoder.

        Args:
            weights: the folder that holds ``NAME/model.safetensors``.

        Raises:
            FileNotFoundError: it is not given, or not there; the message says how to get it.
        """
        if self.visual == "dual":
            return None
        if self.ip_adapter is not None:
            return encoders.ClipVisionEncoder.from_pretrained(Path(self.ip_adapter) / TOWER).to(self.device)
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
