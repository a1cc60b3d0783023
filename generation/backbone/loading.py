"""Stable Diffusion 1.x pipelines from a folder or a hub, checked before anything is read, or from their components."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import StableDiffusionImg2ImgPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_instruct_pix2pix import (
    StableDiffusionInstructPix2PixPipeline,
)
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextModel, CLIPTokenizer

from generation.backbone.adapter import SAVED_ADAPTER, AdapterTokens
from generation.backbone.codec import LinearCodec
from generation.backbone.edit import EditUNet, PatchCodec, PictureTokens
from generation.checkpoint import read_json, reading_weights, require, require_tokenizer

Pipeline = StableDiffusionImg2ImgPipeline | StableDiffusionInstructPix2PixPipeline
"""Pipelines that draw from a reference."""
PICTURE_TOKENS = "picture_tokens"
"""The folder of picture tokens beside those of a pipeline's components."""
OWN_CLASSES: dict[str, dict[str, Any]] = {
    "vae": {"LinearCodec": LinearCodec, "PatchCodec": PatchCodec},
    "unet": {"EditUNet": EditUNet},
}
"""Classes of ours by component, which diffusers would look for among its own."""

EXAMPLE = "stable-diffusion-v1-5/stable-diffusion-v1-5"
"""Named in the message about a pipeline that is not there."""


@contextmanager
def _without_bars() -> Iterator[None]:
    """Silence the bars that diffusers shows while it reads a pipeline; a switch of the whole process is put back."""
    shown = diffusers_logging.is_progress_bar_enabled()
    diffusers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            diffusers_logging.enable_progress_bar()


def require_pipeline(folder: Path) -> None:
    """Check that a folder holds every component of a Stable Diffusion pipeline, its weights as safetensors.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the weights are pickled.
    """
    require(folder, "model_index.json")
    require(folder / "scheduler", "scheduler_config.json")
    require_tokenizer(folder / "tokenizer")
    for component in ("vae", "text_encoder", "unet"):
        require(folder / component, "config.json", "*.safetensors")


def load_pipeline(source: str | Path) -> Pipeline:
    """Read a pipeline in float32; SD-1.x's own PNDM sampler is replaced by DPM-Solver++ on the same noise schedule.

    Whether it edits is seen from its UNet: one that takes twice as many channels as it gives has the reference beside
    the noise.

    Raises:
        FileNotFoundError: nothing, or only a part of a pipeline, is there.
        ValueError: the weights are pickled, or do not read.
    """
    components: dict[str, Any] = {
        "safety_checker": None,
        "requires_safety_checker": False,
        "use_safetensors": True,
        "torch_dtype": torch.float32,  # whatever precision the weights were saved in
    }
    reading = reading_weights("Stable Diffusion pipeline", source, example=EXAMPLE, check=require_pipeline)
    with warnings.catch_warnings(), reading, _without_bars():
        warnings.simplefilter("ignore")  # diffusers announces deprecations of its own attributes while loading
        components |= _own_components(Path(source))
        pipeline: Pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(str(source), **components)
        if pipeline.unet.config["in_channels"] == 2 * pipeline.vae.config["latent_channels"]:
            pipeline = StableDiffusionInstructPix2PixPipeline(**pipeline.components, requires_safety_checker=False)
    if isinstance(pipeline.scheduler, PNDMScheduler):  # poor in few steps, and runs one more than asked
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    return pipeline


def _own_components(folder: Path) -> dict[str, Any]:
    """Components of our classes, which model_index.json names, but diffusers cannot find."""
    own = {}
    for component, classes in OWN_CLASSES.items():
        config = folder / component / "config.json"
        if config.is_file() and (kind := classes.get(read_json(config).get("_class_name", ""))):
            own[component] = kind.from_pretrained(folder / component, torch_dtype=torch.float32)
    return own


def load_picture_tokens(source: str | Path) -> PictureTokens | AdapterTokens | None:
    """The picture tokens that lie beside a pipeline's components, of the UNet's own or an IP-Adapter's; None if there
    are none.

    Raises:
        FileNotFoundError: a file of theirs is missing.
        ValueError: the weights are pickled, or do not read.
    """
    folder = Path(source) / PICTURE_TOKENS
    if not folder.is_dir():
        return None
    if (folder / SAVED_ADAPTER).is_file():
        return AdapterTokens.from_pretrained(folder)
    with reading_weights("picture tokens", folder, example=EXAMPLE, check=_require_tokens):
        return PictureTokens.from_pretrained(folder, torch_dtype=torch.float32)


def _require_tokens(folder: Path) -> None:
    require(folder, "config.json", "*.safetensors")


def assemble_pipeline(
    *,
    codec: LinearCodec | PatchCodec | AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
) -> Pipeline:
    """A pipeline of components that are in memory: one that edits, where the UNet is of that kind."""
    # Typed Any: diffusers annotates neither another autoencoder nor components that are None.
    components: dict[str, Any] = {
        "vae": codec,
        "text_encoder": text_encoder,
        "tokenizer": tokenizer,
        "unet": unet,
        "scheduler": scheduler,
        "safety_checker": None,
        "feature_extractor": None,
    }
    kind = StableDiffusionInstructPix2PixPipeline if isinstance(unet, EditUNet) else StableDiffusionImg2ImgPipeline
    return kind(**components, requires_safety_checker=False)
