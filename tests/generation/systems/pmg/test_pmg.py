"""PMG: keywords and prompts by hand, the best of several pictures, its training, and what is saved."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator

from generation.backbone.config import SamplingConfig
from generation.backbone.image_to_image import denoising_loss
from generation.fixed_batches import FixedBatches
from generation.pictures import to_float
from generation.request import Explanation
from generation.systems.pmg.config import PmgConfig
from generation.systems.pmg.keywords import RequestKeywords
from generation.systems.pmg.pmg import LEAST_SIMILARITY, Pmg, best_of
from generation.systems.pmg.soft_preference import SoftPreference
from generation.systems.pmg.training import contrastive_denoising_loss, negative_row, train_pmg
from generation.training import Curves, Resume
from generation.words.prompts import preference_prompt
from generation_world import World, request

CONFIG = PmgConfig(preference_keywords=2, prefix_tokens=3, epochs=2, batch_size=4)
SAMPLING = SamplingConfig(history_length=3, steps=2, strength=0.6)
KEYWORDS = RequestKeywords(("circle", "red"), ("bar", "teal"))


def build(world: World, config: PmgConfig = CONFIG, sampling: SamplingConfig = SAMPLING) -> Pmg:
    """PMG on the world's frozen parts, with fresh weights."""
    language = world.language()
    soft = SoftPreference(
        language.model,
        language.tokenizer,
        width=world.backbone.width,
        soft_tokens=config.soft_tokens,
        soft_rows=config.soft_rows,
        prefix_tokens=config.prefix_tokens,
        generator=Generator().manual_seed(0),
    )
    return Pmg(world.backbone, soft, world.gallery, world.encoder, config, sampling, preference_prompt())


@pytest.fixture(scope="module")
def pmg(world: World) -> Pmg:
    return build(world)


REQUESTS = [
    request("red-circle", "blue-bar", "blue-square", "teal-bar", "blue-circle", seed=1),
    request("pink-bar", "hole", seed=2, user="v"),
    request("green-square", "red-bar", "red-bar", "red-circle", seed=3, user="w"),
]


def test_settings_that_cannot_be_run_are_all_named() -> None:
    assert list(PmgConfig().conflicts()) == []
    broken = PmgConfig(repetitions=(1, 1), soft_tokens=0, negative_weight=-1, learning_rate=0)
    assert list(broken.conflicts()) == [
        "repetitions [1, 1] must hold at least one number, each from 1 on, and none twice",
        "soft_tokens must be at least 1, got 0",
        "negative_weight -1 must not be negative",
        "learning_rate 0 must be positive",
    ]
    assert len(list(PmgConfig(repetitions=()).conflicts())) == len(list(PmgConfig(repetitions=(0,)).conflicts())) == 1


def test_the_last_items_of_the_history_are_counted_and_explained(pmg: Pmg) -> None:
    """Of blue-bar, blue-square, teal-bar, blue-circle the last three count: blue twice, each shape and teal once."""
    gallery = pmg.gallery
    words = pmg.keywords(REQUESTS[:1])[0]
    of_items = [gallery.keywords[row] for row in gallery.rows(["blue-square", "teal-bar", "blue-circle"])]
    counts = {word: sum(word in each for each in of_items) for each in of_items for word in each}
    assert counts["blue"] == 2
    assert words.preference[0] in {word for word, count in counts.items() if count == max(counts.values())}
    assert [counts[word] for word in words.preference] == sorted(counts.values(), reverse=True)[:2]
    assert words.target == gallery.keywords[int(gallery.rows(["red-circle"]))]
    assert pmg.explain(REQUESTS[:1]) == [
        Explanation(("blue-square", "teal-bar", "blue-circle"), (1 / 3,) * 3, words.preference)
    ]
    with pytest.raises(ValueError, match="user u has an empty history"):
        pmg.generate([request("red-circle")])


def test_the_published_prompt_repeats_the_preference_behind_the_target() -> None:
    assert KEYWORDS.single_prompt(1) == "circle, red, bar, teal"
    assert KEYWORDS.single_prompt(3) == "circle, red, bar, teal, bar, teal, bar, teal"


def test_the_language_model_reads_the_preference_and_the_target(pmg: Pmg) -> None:
    assert pmg.prompts([KEYWORDS]) == [
        "A person looks for pictures with: bar, teal. Show the following in a way that this person prefers: "
        "circle, red."
    ]


def test_windows_repeat_the_rows_of_the_preference_and_a_single_prompt_is_cut_before_the_soft_rows(
    world: World, pmg: Pmg
) -> None:
    """A context of 16: windows are 16 rows of the target and 16 for each repetition, the single prompt has 14."""
    target, preference = (world.backbone.states([text])[0] for text in ("circle, red", "bar, teal"))
    rows = pmg.word_rows([KEYWORDS], 2)[0]
    torch.testing.assert_close(rows, torch.cat([target, preference, preference]))
    single = build(world, replace(CONFIG, prompt="single")).word_rows([KEYWORDS], 2)[0]
    torch.testing.assert_close(single, world.backbone.states(["circle, red, bar, teal, bar, teal"])[0, :14])
    with pytest.raises(ValueError, match=r"pmg\.soft_rows 16 leaves no row for words: .* context is 16"):
        build(world, replace(CONFIG, soft_rows=16))


def test_soft_rows_do_not_depend_on_the_padding(pmg: Pmg) -> None:
    prompts = ["red circle", "red circle, a longer prompt of many more words"]
    both = pmg.soft(prompts)
    assert both.shape == (2, 2, 32)
    for row, prompt in zip(both, prompts, strict=True):
        torch.testing.assert_close(row, pmg.soft([prompt])[0], atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match=r"with 7 of prefix and soft tokens more than the 512"):
        pmg.soft(["red circle " * 600])


def test_the_best_of_several_is_chosen_by_hand() -> None:
    """Scores log t + 2 log p: (.2, .4) gives .032, (.4, .3) .036, (.9, .1) .009 before the logarithm."""
    cosines = torch.tensor([[[0.2, 0.4], [0.4, 0.3], [0.9, 0.1]]])
    scores = cosines[..., 0].log() + 2 * cosines[..., 1].log()
    pictures = torch.arange(3.0).view(1, 3, 1, 1, 1).expand(1, 3, 3, 2, 2)
    assert best_of(pictures, scores)[0, 0, 0, 0] == 1
    assert best_of(pictures, cosines[..., 0].log())[0, 0, 0, 0] == 2  # the target's words alone
    assert best_of(pictures, torch.zeros(1, 3))[0, 0, 0, 0] == 0  # equal ones: the first


def test_scores_are_the_encoders_cosines_with_both_texts(world: World, pmg: Pmg) -> None:
    pictures = to_float(world.gallery.images[:4]).unflatten(0, (2, 2))
    words = pmg.keywords(REQUESTS[:2])
    scores = pmg.scores(pictures, words)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        image = world.encoder.encode_images(pictures[i, j][None])[0]
        texts = world.encoder.encode_texts([words[i].target_text, words[i].preference_text])
        target, preference = (max(float(image @ text), LEAST_SIMILARITY) for text in texts)
        expected = torch.tensor(target).log() + 2 * torch.tensor(preference).log()
        torch.testing.assert_close(scores[i, j], expected, atol=1e-4, rtol=0)


def test_a_generated_picture_is_the_best_of_its_candidates(pmg: Pmg) -> None:
    """One picture for each of three repetitions, drawn one by one; the kept one has the highest score."""
    words, pictures = pmg.keywords(REQUESTS), pmg.generate(REQUESTS)
    with torch.no_grad():
        soft = pmg.soft(pmg.prompts(words))
        drawn = [pmg.render(torch.cat([pmg.word_rows(words, n), soft], dim=1), REQUESTS) for n in (1, 2, 3)]
    candidates = torch.stack(drawn, dim=1)
    assert not torch.equal(candidates[:, 0], candidates[:, 2])
    best = pmg.scores(candidates, words).argmax(1)
    for i, picture in enumerate(pictures):
        torch.testing.assert_close(picture, candidates[i, best[i]], atol=1e-4, rtol=0)


def test_the_same_request_gives_the_same_picture_in_every_batch(pmg: Pmg) -> None:
    """To the last bit in batches of one size; the request's seed moves it, and so does another history."""
    fixed = FixedBatches(pmg, 4)
    pictures = fixed.generate(REQUESTS)
    assert torch.equal(fixed.generate(REQUESTS[::-1]), pictures.flip(0))
    for i, each in enumerate(REQUESTS):
        assert torch.equal(fixed.generate([each])[0], pictures[i])
    torch.testing.assert_close(pmg.generate(REQUESTS), pictures, atol=1e-4, rtol=0)
    for other in (replace(REQUESTS[0], seed=7), replace(REQUESTS[0], history=("pink-bar",))):
        assert not torch.equal(fixed.generate([other])[0], pictures[0])
    assert pmg.generate([]).shape == (0, 3, 48, 32)


def test_the_loss_of_the_negative_is_subtracted(world: World, pmg: Pmg) -> None:
    """With the same timesteps and noise: loss(target) - .5 loss(negative). Equal pictures leave half of the loss."""
    backbone, unet, scheduler = world.backbone, world.backbone.pipeline.unet, world.backbone.pipeline.scheduler
    target, negative = (to_float(world.gallery.images[rows]) for rows in ([0, 1], [9, 10]))
    condition = pmg.word_rows([KEYWORDS, KEYWORDS], 1)

    def denoising(images: torch.Tensor) -> float:
        states, latents = Generator().manual_seed(3), backbone.latents(images)
        return float(denoising_loss(unet, scheduler, latents, latents, condition, states, gamma=0))

    def loss(other: torch.Tensor, weight: float) -> float:
        draws = Generator().manual_seed(3)
        return float(contrastive_denoising_loss(backbone, target, other, condition, draws, negative_weight=weight))

    assert loss(negative, 0.5) == pytest.approx(denoising(target) - 0.5 * denoising(negative), rel=1e-5)
    assert loss(target, 0.5) == pytest.approx(0.5 * denoising(target), rel=1e-5)
    assert loss(negative, 0) == pytest.approx(denoising(target), rel=1e-5)


def test_a_negative_is_neither_the_target_nor_of_the_history_and_has_a_picture(world: World) -> None:
    gallery, ids = world.gallery, world.gallery.ids
    asked = request("red-circle", *ids[1:20])
    drawn = {negative_row(gallery, asked, Generator().manual_seed(seed)) for seed in range(60)}
    assert drawn == set(range(20, 24))  # the 25th, "hole", has no picture
    everything = request("red-circle", *ids)
    assert negative_row(gallery, everything, Generator().manual_seed(0)) in range(1, 24)


class Killed(BaseException):
    pass


def stopping(step: int) -> Curves:
    def tell(name: str, at: int, value: float) -> None:
        if at == step:
            raise Killed

    return Curves(tell=tell)


def test_the_kept_half_is_the_references(world: World, pmg: Pmg) -> None:
    """The best of the candidates, which all keep the same half."""
    kept, requests = torch.zeros(25, 48, 32, dtype=torch.uint8), REQUESTS[:1]
    kept[:, :, :16] = 255
    masked = build(world)
    masked.gallery = replace(world.gallery, kept=kept)
    own = to_float(world.gallery.images[world.gallery.rows(["red-circle"])])
    pictures = masked.generate(requests)
    assert torch.equal(pictures[..., :16], own[..., :16])
    assert (pictures[..., 16:] - own[..., 16:]).abs().max() > 0.1


@pytest.fixture
def untouched(world: World) -> Iterator[None]:
    """The shared frozen parts are bit-identical after the test."""
    parts = (world.backbone.pipeline.unet, world.backbone.pipeline.text_encoder, world.encoder)
    before = [value.clone() for part in parts for value in part.state_dict().values()]
    yield
    after = [value for part in parts for value in part.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.usefixtures("untouched")
def test_training_moves_the_soft_preference_alone_and_goes_on_where_it_was_stopped(
    world: World, tmp_path: Path
) -> None:
    """Three requests in batches of at most three, two epochs: two steps; stopped after the first, the same bits."""
    trained, stopped = build(world), build(world)
    frozen = [value.clone() for value in trained.soft.model.base_model.parameters()]
    first = {name: value.clone() for name, value in trained.soft.trained.state_dict().items()}
    curves, resume = Curves(), Resume(tmp_path / "unfinished.safetensors", 1)
    train_pmg(trained, REQUESTS, seed=0, curves=curves, progress=False)
    assert [step for step, _ in curves.values["PMG: loss"]] == [0, 1]
    last = trained.soft.trained.state_dict()
    assert sorted(last) == ["inputs.weight", "prefix.default.embedding.weight", "project.bias", "project.weight"]
    assert all(not torch.equal(first[name], value) for name, value in last.items())
    for before, after in zip(frozen, trained.soft.model.base_model.parameters(), strict=True):
        assert torch.equal(before, after)
    with pytest.raises(Killed):
        train_pmg(stopped, REQUESTS, seed=0, curves=stopping(1), resume=resume, progress=False)
    again = build(world)
    train_pmg(again, REQUESTS, seed=0, curves=Curves(), resume=resume, progress=False)
    assert all(torch.equal(again.soft.trained.state_dict()[name], value) for name, value in last.items())


def test_a_saved_generator_draws_the_same_pictures(world: World, tmp_path: Path) -> None:
    saved = build(world)
    with torch.no_grad():
        for value in saved.soft.trained.parameters():
            value.add_(0.1)
    saved.save_pretrained(tmp_path)
    loaded = build(world)
    assert not torch.equal(loaded.generate(REQUESTS), saved.generate(REQUESTS))
    loaded.load(tmp_path)
    assert torch.equal(loaded.generate(REQUESTS), saved.generate(REQUESTS))
    with pytest.raises(ValueError, match="holds a PMG of another configuration"):
        build(world, replace(CONFIG, prefix_tokens=4)).load(tmp_path)
