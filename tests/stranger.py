"""A Stable Diffusion 1.x pipeline that this library did not make, small, and an IP-Adapter for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import StableDiffusionImg2ImgPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from generation.encoders.tokenizer import train_clip_tokenizer

DIM = 8
"""Width of the features that the adapter reads."""
LENGTH = 5.0
"""Their length, as its picture tower gives them."""


def foreign_parts(*, width: int = 32, context: int = 77, in_channels: int = 4) -> dict[str, Any]:
    """A Stable Diffusion 1.x pipeline's parts, small, as they come from their configurations: 8 pixels a latent."""
    tokenizer = train_clip_tokenizer(["red circle", "blue bar"], vocab_size=560, max_length=context)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        shape: dict[str, Any] = {
            "block_out_channels": (8,) * 4,
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "norm_num_groups": 4,
        }
        vae = AutoencoderKL(latent_channels=4, sample_size=48, **shape)
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=width,
                intermediate_size=64,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=context,
                bos_token_id=0,
                eos_token_id=1,
                pad_token_id=1,
            )
        )
        unet = UNet2DConditionModel(
            sample_size=6,
            in_channels=in_channels,
            block_out_channels=(16, 32),
            layers_per_block=1,
            cross_attention_dim=width,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            attention_head_dim=4,
            norm_num_groups=8,
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    return {
        "vae": vae.eval(),
        "text_encoder": text_encoder.eval(),
        "tokenizer": tokenizer,
        "unet": unet.eval(),
        "scheduler": scheduler,
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def save_foreign(folder: Path, **shape: Any) -> Path:
    """The pipeline in a folder."""
    StableDiffusionImg2ImgPipeline(**foreign_parts(**shape)).save_pretrained(folder)
    return folder


def picture_tower() -> CLIPVisionModelWithProjection:
    """The picture tower of the adapter, with random weights."""
    shape: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)
        config = CLIPVisionConfig(**shape, projection_dim=DIM, image_size=16, patch_size=8)
        return CLIPVisionModelWithProjection(config).eval()


def save_adapter(folder: Path) -> Path:
    """A folder as ``models.ip_adapter`` names it: the adapter's file beside its picture tower."""
    picture_tower().save_pretrained(folder / "image_encoder")
    save_file(adapter_weights(), folder / "ip-adapter_sd15.safetensors")
    return folder


def adapter_state() -> dict[str, dict[str, Tensor]]:
    """:func:`adapter_weights` as diffusers' ``load_ip_adapter`` takes them."""
    state: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, value in adapter_weights().items():
        kind, _, rest = name.partition(".")
        state[kind][rest] = value
    return state


def adapter_weights() -> dict[str, Tensor]:
    """What the file of a plain IP-Adapter of four rows holds, with random weights."""
    unet, rng = foreign_parts()["unet"], torch.Generator().manual_seed(13)
    width = unet.config.cross_attention_dim
    layers = {name: unet.get_submodule(name.removesuffix(".processor")) for name in unet.attn_processors}
    attention = {
        f"ip_adapter.{number}.to_{kind}_ip.weight": torch.randn(layers[name].to_k.weight.shape, generator=rng)
        for number, name in enumerate(unet.attn_processors)
        if name.endswith("attn2.processor")
        for kind in "kv"
    }
    return attention | {
        "image_proj.proj.weight": torch.randn(4 * width, DIM, generator=rng),
        "image_proj.proj.bias": torch.randn(4 * width, generator=rng),
        "image_proj.norm.weight": torch.ones(width),
        "image_proj.norm.bias": torch.zeros(width),
    }
