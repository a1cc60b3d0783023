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
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextModel, CLIPTokenizer

from generation.backbone.codec import LinearCodec
from generation.checkpoint import reading_weights, require, require_tokenizer

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


def load_pipeline(source: str | Path) -> StableDiffusionImg2ImgPipeline:
    """Read a pipeline in float32; SD-1.x's own PNDM sampler is replaced by DPM-Solver++ on the same noise schedule.

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
    codec_config = Path(source) / "vae" / "config.json"
    reading = reading_weights("Stable Diffusion pipeline", source, example=EXAMPLE, check=require_pipeline)
    with warnings.catch_warnings(), reading, _without_bars():
        warnings.simplefilter("ignore")  # diffusers announces deprecations of its own attributes while loading
        # model_index.json names our codec's class, which diffusers would look for among its own: it is read here.
        if codec_config.is_file() and "LinearCodec" in codec_config.read_text():
            components["vae"] = LinearCodec.from_pretrained(codec_config.parent)
        pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(str(source), **components)
    if isinstance(pipeline.scheduler, PNDMScheduler):  # poor in few steps, and runs one more than asked
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    return pipeline


def assemble_pipeline(
    *,
    codec: LinearCodec | AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
) -> StableDiffusionImg2ImgPipeline:
    """A pipeline of components that are in memory."""
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
    return StableDiffusionImg2ImgPipeline(**components, requires_safety_checker=False)
