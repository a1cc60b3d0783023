"""The backbone: the codec is a projection, the schedule ends in noise, a picture depends on its own seed alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from torch import Tensor

from generation.backbone.backbone import Backbone
from generation.backbone.codec import BASE_GAIN, LinearCodec
from generation.backbone.condition_cache import cache_last
from generation.backbone.unet import Prediction, noise_scheduler, small_unet
from generation.pictures import to_float
from generation_world import World


@pytest.fixture(scope="module")
def codec(world: World) -> LinearCodec:
    return world.backbone.pipeline.vae


def test_a_constant_picture_comes_back_exactly(codec: LinearCodec) -> None:
    constant = torch.tensor([0.3, -0.7, 1.0]).view(1, 3, 1, 1).expand(1, 3, 48, 32)
    latents = codec.encode(constant).latents
    assert latents.shape == (1, 8, 6, 4)
    torch.testing.assert_close(codec.decode(latents).sample, constant, atol=1e-6, rtol=0)


def test_the_codec_is_a_projection(codec: LinearCodec, rng: torch.Generator) -> None:
    picture = torch.rand(2, 3, 48, 32, generator=rng) * 2 - 1
    once = codec.encode(picture).latents
    decoded = codec.decode(once).sample
    assert (decoded - picture).abs().mean() > 0.1  # noise does not fit into 8 channels, so the next line says something
    torch.testing.assert_close(codec.encode(decoded).latents, once, atol=1e-5, rtol=0)


def test_every_patch_keeps_its_mean_colour(codec: LinearCodec, rng: torch.Generator) -> None:
    picture = torch.rand(1, 3, 48, 32, generator=rng) * 2 - 1
    pool = torch.nn.AvgPool2d(8)
    decoded = codec.decode(codec.encode(picture).latents).sample
    torch.testing.assert_close(pool(decoded), pool(picture), atol=1e-6, rtol=0)


def test_enough_components_lose_nothing(rng: torch.Generator) -> None:
    # a 2x2 patch of three channels has 12 numbers: 3 means and 9 of the rest
    pictures = torch.rand(20, 3, 8, 8, generator=rng) * 2 - 1
    codec = LinearCodec(patch=2, latent_channels=12).fit(pictures)
    torch.testing.assert_close(codec.decode(codec.encode(pictures).latents).sample, pictures, atol=1e-4, rtol=0)


def test_every_channel_of_the_latent_is_centred_and_of_unit_size_but_the_base(codec: LinearCodec, world: World) -> None:
    latents = codec.encode(to_float(world.gallery.images[:24]) * 2 - 1).latents
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(8), atol=1e-4, rtol=0)
    deviations = torch.tensor([BASE_GAIN] * 3 + [1.0] * 5)
    torch.testing.assert_close(latents.std((0, 2, 3)), deviations, atol=1e-3, rtol=0)


def test_the_codec_has_a_gradient(codec: LinearCodec) -> None:
    latents = torch.zeros(1, 8, 6, 4, requires_grad=True)
    codec.decode(latents).sample.sum().backward()
    assert latents.grad is not None
    assert latents.grad[:, :3].abs().min() > 0


def test_the_schedule_ends_in_pure_noise_and_begins_there() -> None:
    scheduler = noise_scheduler()
    assert scheduler.alphas_cumprod[-1] == 0
    assert (scheduler.alphas_cumprod.diff() < 0).all()
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == [999, 749, 499, 249]


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
@pytest.mark.parametrize("sampler", ["DDIM", "DPM-Solver++"])
def test_every_sampler_reads_the_prediction_as_it_was_trained(
    rng: torch.Generator, prediction: Prediction, sampler: str
) -> None:
    """A model that knows the clean latent is led to it from pure noise in five steps."""
    trained = noise_scheduler(prediction)
    scheduler: Any = trained if sampler == "DDIM" else DPMSolverMultistepScheduler.from_config(trained.config)
    clean = torch.randn(1, 2, 4, 4, generator=rng)
    x = torch.randn(1, 2, 4, 4, generator=rng)
    scheduler.set_timesteps(5)
    for t in scheduler.timesteps:
        alpha_bar = scheduler.alphas_cumprod[t]
        alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        output = (alpha * x - clean if prediction == "v" else x - alpha * clean) / sigma
        x = scheduler.step(output, t, x).prev_sample
    torch.testing.assert_close(x, clean, atol=1e-3, rtol=0)


def test_fresh_weights_come_from_the_generator_alone() -> None:
    def weights(seed: int) -> Tensor:
        unet = small_unet(
            latent_channels=4,
            latent_size=(4, 4),
            cross_attention_dim=32,
            widths=(32, 32),
            generator=torch.Generator().manual_seed(seed),
        )
        return unet.conv_in.weight

    state = torch.random.get_rng_state()
    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert torch.equal(torch.random.get_rng_state(), state)


def draw(world: World, text: str, seeds: list[int], **settings: object) -> Tensor:
    """One picture a seed from the red circle, under ``text``."""
    states = world.backbone.states([text] * len(seeds))
    references = to_float(world.gallery.images[:1]).expand(len(seeds), -1, -1, -1)
    options = {"steps": 2, "strength": 0.6, "guidance_scale": 2.0, "references": references, **settings}
    negative = world.backbone.states([""] * len(seeds))
    return world.backbone.sample(states, negative, options.pop("references"), seeds, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("text_to_image", [False, True])
def test_a_picture_depends_on_its_own_seed_alone(world: World, text_to_image: bool) -> None:
    settings = {"references": None} if text_to_image else {}
    together = draw(world, "red", [5, 7, 9], **settings)
    alone = draw(world, "red", [7], **settings)
    other = draw(world, "red", [1, 7], **settings)
    assert together.shape == (3, 3, 48, 32)
    torch.testing.assert_close(together[1], alone[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(other[1], alone[0], atol=1e-5, rtol=0)
    assert (together[0] - together[1]).abs().mean() > 0.01
    assert together.min() >= 0
    assert together.max() <= 1


def test_neighbours_with_other_words_and_references_change_nothing(world: World) -> None:
    states, negative = world.backbone.states(["red", "blue bar"]), world.backbone.states(["", ""])
    references = to_float(world.gallery.images[[0, 17]])
    options = {"steps": 2, "strength": 0.6, "guidance_scale": 2.0}
    pair = world.backbone.sample(states, negative, references, [3, 4], **options)
    torch.testing.assert_close(draw(world, "red", [3])[0], pair[0], atol=1e-5, rtol=0)


def test_sampling_leaves_the_global_generator_alone(world: World) -> None:
    state = torch.random.get_rng_state()
    draw(world, "red", [0])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_words_move_the_picture(world: World) -> None:
    assert (draw(world, "red", [5]) - draw(world, "blue, bar", [5])).abs().max() > 1e-3


def test_a_small_strength_keeps_the_reference(world: World) -> None:
    coded = world.backbone.reconstruct(to_float(world.gallery.images[:1]))
    little, much = (
        (draw(world, "red", [5], strength=strength, steps=1, guidance_scale=1.0) - coded).abs().mean()
        for strength in (0.05, 1.0)
    )
    # the noise of the first step: sin(pi/2 * .05) = .08 at strength .05, all of it at 1
    assert little < 0.2 * much
    assert little < 0.1


def test_text_to_image_does_not_see_the_reference(world: World) -> None:
    assert torch.equal(draw(world, "red", [5], references=None), draw(world, "red", [5], references=None, strength=0.1))


@pytest.mark.parametrize(
    ("steps", "strength"), [(1, 0.05), (1, 0.9), (2, 0.6), (2, 0.7), (4, 0.3), (6, 0.6), (3, 1.0), (7, 0.35)]
)
def test_as_many_steps_are_run_as_are_asked_for(world: World, steps: int, strength: float) -> None:
    calls: list[int] = []
    hook = world.backbone.pipeline.unet.register_forward_hook(lambda *_: calls.append(1))
    try:
        draw(world, "red", [0], steps=steps, strength=strength)
    finally:
        hook.remove()
    assert len(calls) == steps


def test_states_are_what_the_pipeline_makes_of_a_prompt(world: World) -> None:
    pipeline = world.backbone.pipeline
    expected, negative = pipeline.encode_prompt("red circle", "cpu", 1, True)
    assert expected is not None
    assert negative is not None
    assert torch.equal(world.backbone.states(["red circle"]), expected)
    assert torch.equal(world.backbone.states([""]), negative)


def test_a_saved_pipeline_draws_the_same_picture(world: World, tmp_path: Path) -> None:
    world.backbone.save_pretrained(tmp_path / "pipe")
    loaded = Backbone.from_pretrained(tmp_path / "pipe", size=(48, 32))
    assert (loaded.width, loaded.context) == (32, 16)
    states, negative = loaded.states(["red"]), loaded.states([""])
    options = {"steps": 2, "strength": 0.6, "guidance_scale": 2.0}
    picture = loaded.sample(states, negative, to_float(world.gallery.images[:1]), [5], **options)
    assert torch.equal(picture, draw(world, "red", [5]))
    assert not any(parameter.requires_grad for parameter in loaded.pipeline.unet.parameters())


def test_a_missing_pipeline_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no Stable Diffusion pipeline at .*nowhere .*`hf download"):
        Backbone.from_pretrained(tmp_path / "nowhere", size=(48, 32))
    with pytest.raises(FileNotFoundError, match="no Stable Diffusion pipeline at runs/nowhere"):
        Backbone.from_pretrained(Path("runs/nowhere"), size=(48, 32))


# --- sampling with gradient -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("strength", [None, 0.6])
def test_pictures_with_gradient_are_the_pipelines_own(
    world: World, strength: float | None, checkpointing: bool, rng: torch.Generator
) -> None:
    backbone, unet = world.backbone, world.backbone.pipeline.unet
    embeds = torch.randn(2, 20, 32, generator=rng, requires_grad=True)
    references = None if strength is None else to_float(world.gallery.images[:2])
    options = {"steps": 3, "strength": strength or 1.0, "guidance_scale": 3.0}

    def sample(**more: bool) -> Tensor:
        return backbone.sample(embeds, torch.zeros(2, 20, 32), references, [0, 1], **options, **more)

    plain = sample()
    assert not plain.requires_grad
    with backbone.checkpointing(checkpointing):
        assert unet.is_gradient_checkpointing == checkpointing
        with_grad = sample(with_grad=True)
    assert not unet.is_gradient_checkpointing
    torch.testing.assert_close(with_grad, plain, atol=0, rtol=0)
    with_grad[0].sum().backward()
    assert embeds.grad is not None
    assert embeds.grad[0].abs().max() > 1e-4
    assert embeds.grad[1].abs().max() == 0  # a picture's neighbours have no part in it


# --- the condition cache, device and precision ----------------------------------------------------------------------


def test_keys_and_values_are_made_once_a_call_and_change_nothing(world: World) -> None:
    backbone = world.backbone
    steps: list[int] = []
    unet = backbone.pipeline.unet
    readers = [m for n, m in unet.named_modules() if n.endswith(("attn2.to_k", "attn2.to_v")) or n == "add_embedding"]
    own = [reader.forward for reader in readers]
    hook = unet.register_forward_hook(lambda *_: steps.append(1))
    reads: list[int] = []

    def counted(forward: Any) -> Any:
        return lambda x: reads.append(1) or forward(x)

    counting = [counted(forward) for forward in own]
    for reader, forward in zip(readers, counting, strict=True):
        reader.forward = forward
    embeds = (backbone.states(["red", "blue"]), backbone.empty.expand(2, -1, -1))
    pictures = backbone.sample(
        *embeds, to_float(world.gallery.images[:2]), [3, 4], steps=3, strength=0.6, guidance_scale=3
    )
    assert len(steps) == 3
    assert len(reads) == len(readers) > 2
    assert [reader.forward for reader in readers] == counting  # put back
    with_grad = backbone.sample(
        *embeds, to_float(world.gallery.images[:2]), [3, 4], steps=3, strength=0.6, guidance_scale=3, with_grad=True
    )
    assert len(reads) == (1 + 3) * len(readers)  # with gradient each step computes its own
    assert torch.equal(with_grad, pictures)
    hook.remove()
    for reader in readers:
        del reader.forward
    world.backbone.sample(*embeds, None, [3, 4], steps=1, strength=1.0, guidance_scale=3)
    assert [reader.forward for reader in readers] == own


def test_the_cache_computes_again_for_another_or_a_changed_tensor() -> None:
    calls: list[Tensor] = []

    def double(x: Tensor) -> Tensor:
        calls.append(x)
        return 2 * x

    cached, x = cache_last(double), torch.ones(2)
    assert cached(x) is cached(x)
    assert len(calls) == 1
    assert cached(x.clone()).tolist() == [2, 2]  # equal, but another tensor
    assert len(calls) == 2
    x.add_(1)
    cached(x)
    x.add_(1)  # written into, as a callback of diffusers may do
    assert cached(x).tolist() == [6, 6]


def test_to_changes_precision_and_layout_and_back(world: World, tmp_path: Path) -> None:
    world.backbone.save_pretrained(tmp_path)
    moved = Backbone.from_pretrained(tmp_path, (48, 32))
    before = moved.states(["red"])
    assert torch.equal(moved.empty, moved.states([""]))
    moved.to("cpu", torch.bfloat16, channels_last=True)
    weight = moved.pipeline.unet.conv_in.weight
    assert weight.dtype == torch.bfloat16
    assert weight.is_contiguous(memory_format=torch.channels_last)
    half = moved.states(["red"])
    assert half.dtype == moved.empty.dtype == torch.float32
    assert 0 < (half - before).abs().max() < 0.1
    assert torch.equal(moved.empty, moved.states([""]))  # encoded anew
    moved.to("cpu", torch.float32)
    assert moved.pipeline.unet.conv_in.weight.is_contiguous()


def test_the_sampler_of_stable_diffusion_is_replaced_and_others_are_kept(world: World, tmp_path: Path) -> None:
    parts = dict(world.backbone.pipeline.components)
    parts["scheduler"] = PNDMScheduler(skip_prk_steps=True, steps_offset=1, beta_schedule="scaled_linear")
    type(world.backbone.pipeline)(**parts, requires_safety_checker=False).save_pretrained(tmp_path / "pndm")
    world.backbone.save_pretrained(tmp_path / "ddim")
    replaced = Backbone.from_pretrained(tmp_path / "pndm", (48, 32)).pipeline.scheduler
    assert isinstance(replaced, DPMSolverMultistepScheduler)
    assert replaced.config["beta_schedule"] == "scaled_linear"
    unchanged = Backbone.from_pretrained(tmp_path / "ddim", (48, 32)).pipeline.scheduler
    assert type(unchanged) is type(world.backbone.pipeline.scheduler)
