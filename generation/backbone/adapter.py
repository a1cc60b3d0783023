"""IP-Adapter (Ye et al. 2023) as a backbone's rows of pictures, which the UNet attends to apart from the words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from generation.checkpoint import read_metadata, read_tensors

SAVED_ADAPTER = "ip_adapter.safetensors"
"""What :meth:`AdapterTokens.save_pretrained` writes."""
PROJECTION, ATTENTION = "image_proj.", "ip_adapter."
"""Prefixes of the weights in IP-Adapter's files."""
ROWS = 4
"""Rows of a picture in the plain IP-Adapter."""
TAKES_ROWS = "takes_adapter_rows"
"""Attribute of a UNet whose hook is in place."""


class AdapterTokens(nn.Module):
    """Rows of a picture's feature by IP-Adapter's own projection; its keys and values are in the UNet's attention.

    It stands where the small backbone has :class:`generation.backbone.edit.PictureTokens`, and the rows lie in front of
    the condition as theirs do. What is different is in the UNet: a hook takes them from the condition, so that the
    words' keys and values never see them.

    Args:
        weights: the tensors of IP-Adapter's file.
        length: root mean square length of the picture tower's features, which the adapter was trained on as they are;
            it is given features at about length 1.

    Raises:
        ValueError: the weights are not those of a plain IP-Adapter for Stable Diffusion 1.x.
    """

    mean: Tensor
    length: Tensor
    none: Tensor

    def __init__(self, weights: Mapping[str, Tensor], length: float) -> None:
        super().__init__()
        if PROJECTION + "proj.weight" not in weights or PROJECTION + "norm.weight" not in weights:
            raise ValueError(
                f"no plain IP-Adapter: its weights lack {PROJECTION}proj.weight or {PROJECTION}norm.weight; take "
                "ip-adapter_sd15.safetensors (the plus, full-face and FaceID forms read other features)"
            )
        self.weights = dict(weights)
        proj, norm = weights[PROJECTION + "proj.weight"], weights[PROJECTION + "norm.weight"]
        self.dim, self.rows, width = proj.shape[1], ROWS, len(norm)
        if proj.shape[0] != ROWS * width:
            raise ValueError(f"IP-Adapter's projection gives {proj.shape[0]} numbers, not {ROWS} rows of {width}")
        self.proj, self.norm = nn.Linear(self.dim, ROWS * width), nn.LayerNorm(width)
        own = {name.removeprefix(PROJECTION): value for name, value in weights.items() if name.startswith(PROJECTION)}
        try:
            self.load_state_dict(own)
        except RuntimeError as error:
            raise ValueError(f"no plain IP-Adapter: its projection has other weights ({error})") from error
        self.float().requires_grad_(False)
        self.register_buffer("mean", torch.zeros(self.dim))
        self.register_buffer("length", torch.tensor(float(length)))
        # As diffusers guides away from no picture: from a feature of zeros.
        self.register_buffer("none", self(self.mean[None]))

    def forward(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, "n rows width"]:
        """Rows for each feature."""
        return self.norm(self.proj(features * self.length).unflatten(1, (self.rows, -1)))

    def save_pretrained(self, folder: Path) -> None:
        """Write the adapter's file; the length stands in its header."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.contiguous() for name, value in self.weights.items()}
        save_file(weights, folder / SAVED_ADAPTER, {"length": str(self.length.item())})

    @classmethod
    def from_pretrained(cls, folder: Path) -> AdapterTokens:
        """Read what :meth:`save_pretrained` wrote.

        Raises:
            FileNotFoundError: it is not there.
            ValueError: it does not read, or has no length in its header.
        """
        weights, metadata = read_tensors(folder / SAVED_ADAPTER), read_metadata(folder / SAVED_ADAPTER)
        if "length" not in metadata:
            raise ValueError(f"{folder / SAVED_ADAPTER} does not say the length of the features that it takes")
        return cls(weights, float(metadata["length"]))


def attach(pipeline: Any, tokens: AdapterTokens) -> None:
    """Put the adapter's attention into a pipeline's UNet, which from then on takes the first rows of every condition.

    Raises:
        ValueError: the adapter was made for another UNet.
    """
    state = {"image_proj": _without(tokens.weights, PROJECTION), "ip_adapter": _without(tokens.weights, ATTENTION)}
    extractor = pipeline.feature_extractor
    with _quiet():
        try:
            pipeline.load_ip_adapter(state, subfolder="", weight_name=SAVED_ADAPTER, image_encoder_folder=None)
        except (KeyError, ValueError, RuntimeError) as error:
            raise ValueError(f"this IP-Adapter was made for another UNet than the backbone's ({error})") from error
    pipeline.register_modules(feature_extractor=extractor)  # diffusers adds one, which nothing here uses
    # The rows come projected: they pass through the calibrator first.
    pipeline.unet.encoder_hid_proj.image_projection_layers[0] = nn.Identity()
    for processor in pipeline.unet.attn_processors.values():
        if isinstance(processor, nn.Module):
            processor.requires_grad_(False)
    # A copy of the UNet has the mark and the hook with it.
    if not takes_rows(pipeline.unet):
        pipeline.unet.register_forward_pre_hook(_take_rows, with_kwargs=True)
        setattr(pipeline.unet, TAKES_ROWS, True)


def takes_rows(unet: Any) -> bool:
    """Whether a UNet takes the first rows of its condition for an adapter."""
    return getattr(unet, TAKES_ROWS, False)


@contextmanager
def detached(pipeline: Any, tokens: AdapterTokens) -> Iterator[None]:
    """The pipeline as it was before :func:`attach`, to be saved."""
    pipeline.unload_ip_adapter()
    try:
        yield
    finally:
        attach(pipeline, tokens)


def _take_rows(unet: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give the first rows of the condition to the adapter, and the rest to the words' attention."""
    if unet.encoder_hid_proj is None:  # detached
        return args, kwargs
    if kwargs.get("added_cond_kwargs"):
        raise ValueError("this backbone's IP-Adapter takes its rows from the preference: pass it no other image embeds")
    condition = kwargs["encoder_hidden_states"]
    # A list of adapters, and for each of them (batch, pictures, rows, width).
    added = {"image_embeds": [condition[:, :ROWS][:, None]]}
    return args, kwargs | {"encoder_hidden_states": condition[:, ROWS:], "added_cond_kwargs": added}


def _without(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back diffusers' notice that no image encoder is loaded: pictures are encoded elsewhere."""
    level = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(level)
