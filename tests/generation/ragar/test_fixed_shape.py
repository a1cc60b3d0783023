"""Pictures that depend on their request alone: the same bits in every batch, and nothing encoded twice."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from generation.ragar import fixed_shape
from generation.ragar.config import RagarConfig
from generation.ragar.fixed_shape import FixedShape
from generation.ragar.language import LanguageModel
from generation.ragar.ragar import Ragar
from generation.request import Generator, Request
from generation_world import SMALL, World, request


def perturbed(world: World, config: RagarConfig = SMALL, *, lora: bool = False) -> Ragar:
    """A generator whose trained parts are not at their initial values."""
    ragar, generator = world.ragar(config), torch.Generator().manual_seed(9)
    if lora:
        ragar.add_lora(2, torch.Generator())
    with torch.no_grad():
        for value in ragar.trained_parts().values():
            value.add_(0.2 * torch.randn(value.shape, generator=generator))
    return ragar


@pytest.fixture(scope="module")
def ragar(world: World) -> Ragar:
    return perturbed(world)


@pytest.fixture(scope="module")
def requests(world: World) -> list[Request]:
    """Twenty requests with histories of one to six items."""
    draw = random.Random(0)
    pictured = world.gallery.ids[:24]
    return [
        request(draw.choice(pictured), *draw.choices(world.gallery.ids, k=draw.randint(1, 6)), seed=n, user=f"u{n}")
        for n in range(20)
    ]


def test_a_picture_is_the_same_to_the_last_bit_in_every_batch(
    ragar: Ragar, requests: list[Request], monkeypatch
) -> None:
    """All in order, shuffled and in two parts, and each alone; prompts of several padded lengths."""
    monkeypatch.setattr(fixed_shape, "TOKENS", 2)
    monkeypatch.setattr(fixed_shape, "ROWS", 4)
    maker = FixedShape(ragar, batch_size=8)
    described = {each: ragar.describe([each]) for each in requests}
    assert len(maker._by_length(described)) > 2
    pictures = maker.generate(requests)
    assert pictures.shape == (20, 3, 48, 32)
    order = random.Random(1).sample(range(20), 20)
    for part in (order[:5], order[5:], order[:1], order[1:2]):
        assert torch.equal(FixedShape(ragar, batch_size=8).generate([requests[i] for i in part]), pictures[part])
    assert torch.equal(maker.generate([requests[i] for i in order]), pictures[order])  # from its cache
    assert isinstance(maker, Generator)


@pytest.mark.parametrize("lora", [False, True])
def test_the_pictures_are_those_of_the_generator_up_to_rounding(
    world: World, requests: list[Request], lora: bool
) -> None:
    ragar = perturbed(world, lora=lora)
    maker = FixedShape(ragar, batch_size=16)
    torch.testing.assert_close(maker.encode(requests), ragar.encode_preference(requests).embeds(), atol=1e-4, rtol=0)
    pictures = maker.generate(requests)
    torch.testing.assert_close(pictures, ragar.generate(requests), atol=1e-4, rtol=0)
    assert torch.equal(FixedShape(ragar, batch_size=16).generate(requests[5:7]), pictures[5:7])


class Watched:
    """How often each prompt and each text was encoded for somebody, fillers of a batch not counted."""

    def __init__(self, ragar: Ragar, monkeypatch: pytest.MonkeyPatch) -> None:
        self.prompts: Counter[str] = Counter()
        self.texts: Counter[str] = Counter()
        encode, states = ragar.encode, ragar.backbone.states

        def watched_encode(described: Any, **named: Any) -> Any:
            self.prompts.update(dict.fromkeys(described.prompts, 1))
            return encode(described, **named)

        def watched_states(texts: Sequence[str]) -> Tensor:
            self.texts.update(dict.fromkeys((text for text in texts if text), 1))
            return states(texts)

        monkeypatch.setattr(ragar, "encode", watched_encode)
        monkeypatch.setattr(ragar.backbone, "states", watched_states)


def test_a_preference_that_comes_twice_is_encoded_once(ragar: Ragar, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seeds of one person, and somebody else with the same history, in two calls: one prompt, one text, once."""
    first = request("red-circle", "orange-circle", "blue-bar", seed=0)
    repeats = [replace(first, seed=1), replace(first, seed=2), replace(first, user="v", seed=3)]
    # history_length is 4: what lies further back is not looked at
    longer = [replace(first, history=(item, *["red-bar"] * 2, *first.history)) for item in ("teal-bar", "pink-bar")]
    watched, maker = Watched(ragar, monkeypatch), FixedShape(ragar, batch_size=4)
    pictures = torch.cat([maker.generate([first, repeats[0]]), maker.generate(repeats[1:])])
    assert list(watched.prompts.values()) == [1]
    assert list(watched.texts.values()) == [1]
    assert len({tuple(picture.flatten().tolist()) for picture in pictures}) == 4
    maker.generate(longer)
    assert sum(watched.prompts.values()) == 2
    assert torch.equal(maker.encode(longer[:1]), maker.encode(longer[1:]))


def test_a_text_of_a_reference_is_encoded_once_for_all_people(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two histories with the same keywords in the same order, and other pictures: two preferences, one E_g."""
    ragar = world.ragar(replace(SMALL, n_keywords=1, keywords_from="history"))
    first, second = (request("red-circle", f"{a}-bar", f"{b}-bar") for a, b in (("blue", "teal"), ("pink", "green")))
    explained = ragar.encode_preference([first, second]).explanations
    assert explained[0].keywords == explained[1].keywords == ("bar",)
    watched, maker = Watched(ragar, monkeypatch), FixedShape(ragar, batch_size=2)
    embeds = maker.encode([first, second])
    assert list(watched.texts.values()) == [1]
    assert len(maker.preferences) == 2
    assert torch.equal(embeds[0, 20:], embeds[1, 20:])  # E_g
    assert not torch.equal(embeds[0, :20], embeds[1, :20])


def test_a_random_history_is_another_preference_for_each_seed(world: World) -> None:
    ragar = world.ragar(replace(SMALL, history="random", k=1))
    requests = [request("red-circle", "blue-bar", "teal-square", "pink-circle", seed=seed) for seed in range(8)]
    maker = FixedShape(ragar, batch_size=8)
    rows = maker.encode(requests)
    assert len(maker.preferences) == 8
    torch.testing.assert_close(rows, ragar.encode_preference(requests).embeds(), atol=1e-4, rtol=0)


def test_the_cache_is_bounded_and_changes_no_preference(
    ragar: Ragar, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = FixedShape(ragar, batch_size=8).encode(requests)
    monkeypatch.setattr(fixed_shape, "CACHE_SIZE", 3)
    maker = FixedShape(ragar, batch_size=8)
    assert torch.equal(maker.encode(requests), whole)
    assert len(maker.preferences) == 3
    assert len(maker.texts) <= 3
    assert list(maker.preferences) == [maker._key(each) for each in requests[-3:]]
    assert torch.equal(maker.encode(requests), whole)


def test_a_model_with_few_positions_reads_prompts_that_are_padded_beyond_them(world: World) -> None:
    """GPT-2 with 60 positions: padding to 64 takes none of them."""
    tokenizer = world.language().tokenizer
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=60, n_embd=32, n_layer=1, n_head=4))
    language = LanguageModel(model, tokenizer, image_tokens=2, text_rows=4, generator=torch.Generator().manual_seed(0))
    prompt = "a picture of something red"
    assert language.tokens([prompt]) == [len(tokenizer(prompt).input_ids)]
    for own, padded in zip(language([prompt]), language([prompt], 64), strict=True):
        torch.testing.assert_close(own, padded, atol=1e-5, rtol=0)


def test_no_requests_give_no_picture_and_an_empty_batch_is_an_error(ragar: Ragar) -> None:
    assert FixedShape(ragar).generate([]).shape == (0, 3, 48, 32)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        FixedShape(ragar, batch_size=0)
    with pytest.raises(ValueError, match="user w has an empty history"):
        FixedShape(ragar).generate([request("red-circle", "blue-bar"), request("red-circle", user="w")])
