"""The folder of a trained generator: `config.json`, `prompt.txt`, `model.safetensors`, and LoRA if there is any."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from generation.backbone.backbone import LORA_FILE, Backbone
from generation.checkpoint import read_json, read_metadata, read_tensors
from generation.ragar.config import RagarConfig

WEIGHTS = "model.safetensors"
"""The trained parts; the rank of LoRA, if there is any, is noted in its header."""


def read_config(folder: Path) -> RagarConfig:
    """Read the ``config.json`` of a saved generator.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it holds settings that this version does not know.
    """
    settings = read_json(folder / "config.json")
    if unknown := sorted(set(settings) - {field.name for field in fields(RagarConfig)}):
        raise ValueError(f"{folder / 'config.json'} is no generator's of this version: {', '.join(unknown)} unknown")
    return RagarConfig(**settings)


def save_generator(
    folder: Path,
    *,
    config: RagarConfig,
    prompt: str,
    trained: Mapping[str, nn.Parameter],
    backbone: Backbone,
    lora_rank: int,
) -> None:
    """Write the configuration, p_g and the trained parts.

    LoRA gets a file of its own, :data:`generation.backbone.backbone.LORA_FILE`, which diffusers reads too. Its rank
    stands in the header of ``model.safetensors``.

    Args:
        folder: is made where it is missing; its files are replaced.
        config: becomes ``config.json``.
        prompt: p_g with its fields, becomes ``prompt.txt``.
        trained: the trained parts by name, LoRA included.
        backbone: the one that draws v_gen.
        lora_rank: 0 without LoRA.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(asdict(config), indent=1))
    (folder / "prompt.txt").write_text(prompt, encoding="utf-8")
    lora = backbone.lora
    # Cloned, because safetensors refuses tensors that share memory.
    weights = {name: value.detach().clone() for name, value in trained.items() if name not in lora}
    save_file(weights, folder / WEIGHTS, {"lora_rank": str(lora_rank)} if lora else None)
    (folder / LORA_FILE).unlink(missing_ok=True)  # the folder may have held a generator with LoRA
    if lora:
        backbone.save_lora(folder)


def read_generator(folder: Path) -> tuple[dict[str, Tensor], int]:
    """The trained parts of a saved generator by name, LoRA included, and the rank of its LoRA (0 without).

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: one does not read, or is pickled.
    """
    weights = read_tensors(folder / WEIGHTS)
    rank = int(read_metadata(folder / WEIGHTS).get("lora_rank", 0))
    return weights | (read_tensors(folder / LORA_FILE) if rank else {}), rank


def copy_weights(parameters: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]) -> None:
    """Copy saved weights into the parameters of the same names, in place.

    Raises:
        ValueError: names or shapes differ; then nothing is copied.
    """
    differing = sorted(parameters.keys() ^ weights.keys())
    differing = differing or [name for name in parameters if parameters[name].shape != weights[name].shape]
    if differing:
        raise ValueError(f"the saved generator was made with another configuration: {', '.join(differing[:3])} differ")
    with torch.no_grad():
        for name, value in weights.items():
            parameters[name].copy_(value)
