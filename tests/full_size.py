"""SD-1.5, Qwen2.5-0.5B and CLIP ViT-L/14 at their true configurations with random weights in bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import StableDiffusionImg2ImgPipeline
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from open_clip.tokenizer import SimpleTokenizer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, Qwen2Config, Qwen2ForCausalLM
from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer

from generation.encoders.dual import OpenClipEncoder
from generation.ragar.language import PROMPT
from generation.tokens import train_bpe

PARAMETERS = {
    "unet": 859_520_964,
    "vae": 83_653_863,
    "text_encoder": 123_060_480,
    "language": 494_032_768,
    "encoder": 427_616_513,
}
"""Number of parameters of each model, as published with the weights."""


def save_full_size(folder: Path) -> dict[str, str]:
    """Write folders of the hubs' layout and return their paths by the keys of the section ``models``; about 4 GB."""
    makers: dict[str, Callable[[Path], object]] = {"backbone": _backbone, "encoder": _encoder, "language": _language}
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for name, make in makers.items():
                make(folder / name)
    finally:
        torch.set_default_dtype(torch.float32)
    return {name: str(folder / name) for name in makers}


def _backbone(folder: Path) -> None:
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            max_position_embeddings=77,
            hidden_act="quick_gelu",
            projection_dim=768,
            bos_token_id=49406,
            eos_token_id=49407,
            pad_token_id=49407,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=64,
        in_channels=4,
        out_channels=4,
        layers_per_block=2,
        block_out_channels=(320, 640, 1280, 1280),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=768,
        attention_head_dim=8,
    )
    levels: dict[str, Any] = {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    vae = AutoencoderKL(sample_size=512, latent_channels=4, layers_per_block=2, **levels)
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    components: dict[str, Any] = {
        "vae": vae,
        "text_encoder": text_encoder,
        "tokenizer": clip_tokenizer(),
        "unet": unet,
        "scheduler": scheduler,
        "safety_checker": None,
        "feature_extractor": None,
    }
    StableDiffusionImg2ImgPipeline(**components, requires_safety_checker=False).save_pretrained(
        folder, safe_serialization=True
    )


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's own tokenizer, from the vocabulary in open_clip; transformers has other names for its special tokens."""
    tokenizer: Any = SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocab = {names.get(word, word): number for word, number in tokenizer.encoder.items()}
    return CLIPTokenizer(vocab=vocab, merges=list(tokenizer.bpe_ranks), model_max_length=77)  # type: ignore[arg-type]


def _encoder(folder: Path) -> None:
    """A folder without a tokenizer, as open_clip's are: it is then read with open_clip's own."""
    config: Any = open_clip.get_model_config("ViT-L-14-quickgelu")
    OpenClipEncoder(open_clip.CLIP(**config), None, {"model_cfg": config}).save_pretrained(folder)


def _language(folder: Path) -> None:
    """The tokenizer is learned from our own prompt, so that it has about as many tokens as with Qwen2.5's."""
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=151_936,
            hidden_size=896,
            intermediate_size=4864,
            num_hidden_layers=24,
            num_attention_heads=14,
            num_key_value_heads=2,
            max_position_embeddings=32_768,
            rms_norm_eps=1e-6,
            tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            bos_token_id=151_643,
            eos_token_id=151_645,
        )
    )
    model.save_pretrained(folder)
    prompt = PROMPT.format(keywords="comedy, horror, western, drama", caption="adventure, 1950s in yellow, blue")
    vocab, merges = train_bpe([prompt] * 2, vocab_size=2000, special=["<|endoftext|>"])
    Qwen2Tokenizer(vocab=vocab, merges=merges, model_max_length=32_768).save_pretrained(folder)  # type: ignore[arg-type]
