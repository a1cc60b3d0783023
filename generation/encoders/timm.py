"""The door to timm: pooled features of any of its image models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn


class TimmEncoder(nn.Module):
    """A timm image model's pooled features, from a folder that holds ``model.safetensors``.

    The catalogue's mean is *not* removed here: the caller does that before features are compared.

    Args:
        model: any timm model.
        name: its name.
        size: (height, width) in pixels to which every picture is resized.
        mean, std: of the colours that it was trained on, one number or one a channel.
    """

    model: Any
    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str,
        size: tuple[int, int],
        mean: Sequence[float] = (0.5,),
        std: Sequence[float] = (0.5,),
    ) -> None:
        super().__init__()
        self.model, self.name, self.size = model, name, size
        self.register_buffer("shift", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("scale", torch.tensor(std).view(-1, 1, 1))
        # The pooled features of some models (MobileNetV3) come from a convolution of the head, wider than num_features.
        self.dim = int(getattr(model, "head_hidden_size", None) or self.model.num_features)
        self.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(cls, name: str, weights: Path, *, size: tuple[int, int] | None) -> "TimmEncoder":
        """Build a model of timm and read its weights.

        Args:
            name: timm's name of the model.
            weights: the folder that holds ``<name>/model.safetensors``.
            size: (height, width) in pixels to which every picture is resized, colours scaled to [-1, 1]; ``None`` takes
                the size and the colours that timm knows it was trained on.

        Raises:
            FileNotFoundError: there is no such file; the message names the path.
        """
        file = weights / name / "model.safetensors"
        if not file.is_file():
            raise FileNotFoundError(
                f"no weights of {name} at {file}: give the folder that holds {name}/ by --weights; where there is a "
                f"network, `hf download timm/{name} model.safetensors --local-dir FOLDER/{name}` fetches them"
            )
        # TensorFlow's padding, which is not timm's default for these models: every feature depends on it.
        extra: dict[str, Any] = {"pad_type": "same"} if name.startswith("mobilenetv2") else {}
        # checkpoint_path and not pretrained=True, which would go to the hub.
        model = timm.create_model(name, checkpoint_path=str(file), **extra)
        if size is not None:
            return cls(model, name=name, size=size)
        trained_on: dict[str, Any] = resolve_model_data_config(model)
        _, *pixels = trained_on["input_size"]  # (channels, height, width)
        return cls(model, name=name, size=(pixels[0], pixels[1]), mean=trained_on["mean"], std=trained_on["std"])

    @classmethod
    def efficientnet_lite0(cls, file: Path, *, size: tuple[int, int]) -> "TimmEncoder":
        """EfficientNet-Lite0 with ImageNet weights in the names of the package `efficientnet_pytorch`.

        They are TensorFlow's: with its padding, epsilon 1e-3 in batch norm and colours scaled to [-1, 1], which timm
        calls ``tf_efficientnet_lite0``.

        Args:
            file: a pickled state dict; nothing but tensors is read from it.
            size: (height, width) in pixels to which every picture is resized.

        Raises:
            ValueError: the file holds other weights.
        """
        model = timm.create_model("tf_efficientnet_lite0")
        weights = torch.load(file, map_location="cpu", weights_only=True)
        # Both list their tensors in the order of computation: names differ, places and shapes do not.
        names, own = list(weights), model.state_dict()
        kinds = [(name.rpartition(".")[2], tuple(weights[name].shape)) for name in names]
        if kinds != [(name.rpartition(".")[2], tuple(value.shape)) for name, value in own.items()]:
            raise ValueError(f"{file} does not hold the weights of EfficientNet-Lite0: install its package again")
        model.load_state_dict({name: weights[theirs] for name, theirs in zip(own, names, strict=True)})
        return cls(model, name="efficientnet_lite0", size=size)

    def encode_images(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n dim"]:
        """Pooled features before the classifier, not normalised, differentiable in ``images``."""
        images = images.to(self.shift)
        if images.shape[-2:] != self.size:
            images = F.interpolate(images, size=self.size, mode="bicubic", antialias=True, align_corners=False)
        features = self.model.forward_features((images - self.shift) / self.scale)
        return self.model.forward_head(features, pre_logits=True)


def timm_names() -> list[str]:
    """Names of all models that timm can build."""
    return timm.list_models()
