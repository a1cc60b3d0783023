"""LoRA: no change at first, then W x + B A x; shared frozen weights, and a file that diffusers reads."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from generation.backbone.backbone import LORA_FILE, Backbone, StableDiffusionPipeline
from generation.backbone.lora import lora_of
from generation.pictures import to_float
from generation_world import World


def adapted(backbone: Backbone, *, rank: int = 2, seed: int = 0) -> Backbone:
    """A backbone whose LoRA has random weights, as if it had been trained."""
    tuned, generator = backbone.with_lora(rank, Generator().manual_seed(seed)), Generator().manual_seed(9)
    with torch.no_grad():
        for value in tuned.lora.values():
            value.add_(0.2 * torch.randn(value.shape, generator=generator))
    return tuned


def draw(backbone: Backbone, world: World, **more: Any) -> Tensor:
    """Two pictures in three steps, under words."""
    states, negative = backbone.states(["red", "blue"]), backbone.states(["", ""])
    references = to_float(world.gallery.images[:2])
    return backbone.sample(states, negative, references, [3, 4], steps=3, strength=0.6, guidance_scale=3.0, **more)


def predict(unet: Any) -> Tensor:
    """A UNet's prediction for fixed noise and text states."""
    generator = Generator().manual_seed(1)
    noise, words = torch.randn(2, 8, 6, 4, generator=generator), torch.randn(2, 16, 32, generator=generator)
    with torch.no_grad():
        return unet(noise, 500, encoder_hidden_states=words).sample


def test_every_attention_has_a_and_b_of_the_rank(world: World) -> None:
    """One transformer on the way down, one in the middle, two on the way up; each has two attentions of four layers."""
    lora = world.backbone.with_lora(3, Generator()).lora
    assert len(lora) == 4 * 2 * 4 * 2
    # all are 32 wide: A is 3 x 32 and B is 32 x 3
    assert {(name.split(".")[-2], tuple(value.shape)) for name, value in lora.items()} == {
        ("lora_A", (3, 32)),
        ("lora_B", (32, 3)),
    }
    assert sum(value.numel() for value in lora.values()) == 32 * 3 * (32 + 32)
    assert all(value.requires_grad and value.dtype == torch.float32 for value in lora.values())
    assert all((value == 0).all() for name, value in lora.items() if ".lora_B." in name)
    assert lora_of(world.backbone.pipeline.unet) == {}


def test_nothing_changes_before_b_is_trained_and_then_it_is_w_x_plus_b_a_x(world: World) -> None:
    tuned = world.backbone.with_lora(2, Generator())
    assert torch.equal(predict(tuned.pipeline.unet), predict(world.backbone.pipeline.unet))
    assert torch.equal(draw(tuned, world), draw(world.backbone, world))
    name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    before, after = (backbone.pipeline.unet.get_submodule(name) for backbone in (world.backbone, tuned))
    a, b = tuned.lora[f"unet.{name}.lora_A.weight"], tuned.lora[f"unet.{name}.lora_B.weight"]
    with torch.no_grad():
        a.zero_()
        a[0, 5], a[1, 7] = 2.0, 3.0
        b[4, 0], b[6, 1] = 10.0, 100.0
    x = torch.zeros(1, 32)
    x[0, 5] = x[0, 7] = 1.0
    change = torch.zeros(1, 32)
    change[0, 4], change[0, 6] = 20.0, 300.0  # a scale of alpha / r would show here
    torch.testing.assert_close(after(x), before(x) + change)


def test_a_comes_from_the_generator_alone(world: World) -> None:
    def fresh(seed: int) -> Tensor:
        lora = world.backbone.with_lora(2, Generator().manual_seed(seed)).lora
        return torch.cat([value.flatten() for value in lora.values()]).detach()

    state = torch.random.get_rng_state()
    assert torch.equal(fresh(1), fresh(1))
    assert not torch.equal(fresh(1), fresh(2))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_everything_else_is_shared_and_the_base_generates_the_same_pictures(world: World) -> None:
    base = world.backbone
    before, modules = draw(base, world), [type(module) for module in base.pipeline.unet.modules()]
    tuned = adapted(base)
    assert (draw(tuned, world) - before).abs().max() > 1e-3
    assert torch.equal(draw(base, world), before)
    assert [type(module) for module in base.pipeline.unet.modules()] == modules
    own = {id(value) for value in tuned.lora.values()}
    weights = [value for value in tuned.pipeline.unet.parameters() if id(value) not in own]
    assert {id(value) for value in weights} == {id(value) for value in base.pipeline.unet.parameters()}
    assert not any(value.requires_grad for value in weights)
    for part in ("vae", "text_encoder", "tokenizer", "scheduler"):
        assert getattr(tuned.pipeline, part) is getattr(base.pipeline, part)
    assert tuned.text_to_image is not None and tuned.text_to_image.unet is tuned.pipeline.unet


def test_a_second_lora_is_refused(world: World) -> None:
    with pytest.raises(ValueError, match=r"the UNet has LoRA already \(ragar\)"):
        adapted(world.backbone).with_lora(2, Generator())


def test_keys_and_values_with_lora_are_made_once_a_call_and_change_nothing(world: World) -> None:
    tuned, reads = adapted(world.backbone), []
    readers = [m for n, m in tuned.pipeline.unet.named_modules() if n.endswith(("attn2.to_k", "attn2.to_v"))]
    assert len(readers) == 2 * 4
    hooks = [m.lora_A["ragar"].register_forward_hook(lambda *_: reads.append(1)) for m in readers]
    pictures = draw(tuned, world)
    assert len(reads) == len(readers)
    with_grad = draw(tuned, world, with_grad=True)
    assert len(reads) == (1 + 3) * len(readers)  # with gradient each step computes its own
    assert torch.equal(with_grad, pictures)
    assert not any("forward" in vars(reader) for reader in readers)  # put back
    for hook in hooks:
        hook.remove()


def test_the_gradient_reaches_lora_alone_with_checkpointing_or_without(world: World) -> None:
    tuned = adapted(world.backbone)

    def gradients(checkpointing: bool) -> list[Tensor]:
        with tuned.checkpointing(checkpointing):
            pictures = draw(tuned, world, with_grad=True)
        return list(torch.autograd.grad(pictures[:, 0].mean(), list(tuned.lora.values())))

    plain = gradients(False)
    assert min(value.abs().max() for value in plain) > 0
    torch.testing.assert_close(gradients(True), plain, rtol=1e-4, atol=1e-7)
    assert not world.backbone.pipeline.unet.is_gradient_checkpointing


def test_lora_stays_float32_to_the_last_bit_wherever_the_rest_goes(world: World, tmp_path: Path) -> None:
    world.backbone.save_pretrained(tmp_path)
    base = Backbone.from_pretrained(tmp_path, (48, 32))
    tuned = adapted(base)
    parameters, exact = list(tuned.lora.values()), draw(tuned, world)
    values = [value.detach().clone() for value in parameters]
    base.to("cpu", torch.bfloat16)
    tuned.to("cpu", torch.bfloat16, channels_last=True)
    assert {value.dtype for value in tuned.frozen if isinstance(value, torch.nn.Parameter)} == {torch.bfloat16}
    # an optimiser holds these very parameters
    assert all(value is before for value, before in zip(tuned.lora.values(), parameters, strict=True))
    for value, before in zip(parameters, values, strict=True):
        assert torch.equal(value, before)
    half = draw(tuned, world)
    assert half.dtype == torch.float32
    # bfloat16 has 8 bits: a 256th of the range at each of a few steps
    assert 0 < (half - exact).abs().mean() < 0.02
    later = base.with_lora(2, Generator())
    assert {value.dtype for value in later.lora.values()} == {torch.float32}
    assert torch.equal(draw(later, world), draw(base, world))


def test_a_compiled_backbones_copy_is_compiled(world: World, tmp_path: Path) -> None:
    world.backbone.save_pretrained(tmp_path)
    base = Backbone.from_pretrained(tmp_path, (48, 32)).to("cpu", compiled=True)
    tuned = base.with_lora(2, Generator())
    assert tuned.compiled
    assert tuned.pipeline.unet._compiled_call_impl is not None
    assert tuned.pipeline.unet._compiled_call_impl is not base.pipeline.unet._compiled_call_impl


def test_diffusers_loads_the_file_into_a_plain_pipeline(world: World, tmp_path: Path) -> None:
    tuned = adapted(world.backbone, rank=3)
    tuned.save_lora(tmp_path / "lora")
    assert [file.name for file in (tmp_path / "lora").iterdir()] == [LORA_FILE]
    world.backbone.save_pretrained(tmp_path / "pipe")
    parts = Backbone.from_pretrained(tmp_path / "pipe", (48, 32)).pipeline.components
    plain_pipeline = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    plain = predict(plain_pipeline.unet)
    assert torch.equal(plain, predict(world.backbone.pipeline.unet))
    plain_pipeline.load_lora_weights(str(tmp_path / "lora"))
    assert torch.equal(predict(plain_pipeline.unet), predict(tuned.pipeline.unet))
    assert (predict(plain_pipeline.unet) - plain).abs().max() > 1e-3
    plain_pipeline.fuse_lora()
    plain_pipeline.unload_lora_weights()
    torch.testing.assert_close(predict(plain_pipeline.unet), predict(tuned.pipeline.unet), atol=1e-5, rtol=0)
