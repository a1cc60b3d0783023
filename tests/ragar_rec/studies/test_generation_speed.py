"""What the speed of the generator is measured against."""

from pathlib import Path

import pytest
import torch

from full_size import PARAMETERS
from generation.pictures import to_float
from generation_world import World, build_world
from ragar_rec.studies.generation_speed import bare_generation
from ragar_rec.studies.text_to_image_speed import sd15_models, text_to_image_rates


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("shapes"))


def test_the_bare_computation_runs_the_unet_on_twice_the_batch_at_every_step(world: World) -> None:
    ragar = world.ragar()
    calls: list[torch.Size] = []
    hook = world.backbone.pipeline.unet.register_forward_pre_hook(lambda _, args: calls.append(args[0].shape))
    embeds = torch.zeros(3, 36, 32)
    pictures = bare_generation(ragar, embeds, embeds, to_float(world.gallery.images[:3]))
    hook.remove()
    assert calls == [(6, 8, 6, 4)] * 2  # two steps; 48 x 32 pixels are 6 x 4 latents
    assert pictures.shape == (3, 3, 48, 32)


def test_the_table_of_the_gpu_has_a_row_for_each_change(world: World, tmp_path: Path) -> None:
    """On the CPU and at a small size, without the compiler."""
    world.backbone.save_pretrained(tmp_path)
    own = type(world.backbone).from_pretrained(tmp_path, (48, 32))
    rows = text_to_image_rates(own, "cpu", n=4, batch=2, steps=2, compiled=False)
    assert [name for name, _ in rows] == [
        "diffusers, a prompt at a time, float32",
        "text states kept",
        "keys and values of cross-attention kept",
        "batches of 2",
        "bfloat16",
        "channels last",
    ]
    assert all(rate > 0 for _, rate in rows)
    assert own.pipeline.unet.dtype == torch.bfloat16


def test_the_gpu_draws_at_sd15s_true_size() -> None:
    with torch.device("meta"):  # shapes without memory
        models = sd15_models()
    found = {name: sum(value.numel() for value in model.parameters()) for name, model in models.items()}
    assert found == {"codec": PARAMETERS["vae"], **{name: PARAMETERS[name] for name in ("unet", "text_encoder")}}
