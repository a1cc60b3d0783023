"""Loading a Stable Diffusion 1.x pipeline from a folder or a hub, checked before anything is read."""

from pathlib import Path

from diffusers.utils import logging as diffusers_logging
from diffusers.utils.outputs import BaseOutput as BaseOutput
from transformers.utils import logging as transformers_logging

from generation.checkpoint import require, require_tokenizer

EXAMPLE = "stable-diffusion-v1-5/stable-diffusion-v1-5"


def without_bars() -> None:
    """Silence, process-wide, the bars that diffusers and transformers show while they read a file: for applications."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()


def _require_pipeline(folder: Path) -> None:
    require(folder, "model_index.json")
    require(folder / "scheduler", "scheduler_config.json")
    require_tokenizer(folder / "tokenizer")
    for part in ("vae", "text_encoder", "unet"):
        require(folder / part, "config.json", "*.safetensors")
