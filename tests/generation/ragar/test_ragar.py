"""RAGAR: what a preference is made of, what changes a picture, and what never does."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from generation.backbone.backbone import LORA_FILE, Backbone
from generation.ragar.config import RagarConfig
from generation.ragar.description import global_row_weights
from generation.ragar.ragar import Ragar
from generation.request import Generator
from generation_world import SMALL, World, request

ASKED = request("red-circle", "orange-circle", "blue-bar", "red-bar", "teal-square", seed=3)
OTHER = request("pink-bar", "green-bar", seed=4, user="v")


@pytest.fixture(scope="module")
def ragar(world: World) -> Ragar:
    """Never trained: tests that change weights make their own."""
    return world.ragar()


def stirred(world: World, config: RagarConfig = SMALL, *, lora: int = 0) -> Ragar:
    """One whose trained parts are nobody's start, the calibrator's above all (it begins as the identity)."""
    made = world.ragar(config)
    generator = torch.Generator().manual_seed(9)
    if lora:
        made.add_lora(lora, torch.Generator())
    with torch.no_grad():
        for value in made.trained_parts().values():
            value.add_(0.2 * torch.randn(value.shape, generator=generator))
    return made


def difference(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


# --- retrieval inside the generator ---------------------------------------------------------------------------------


def test_retrieval_takes_the_most_similar_captions_of_the_history(ragar: Ragar, world: World) -> None:
    rows, weights, p_ret = ragar.retrieve([ASKED])
    reference, *history = world.gallery.semantic[world.gallery.rows([ASKED.reference, *ASKED.history])]
    cosines = [float(reference @ past) for past in history]  # both are unit vectors
    best = sorted(range(4), key=lambda i: -cosines[i])[:2]
    assert [world.gallery.ids[row] for row in rows[0]] == [ASKED.history[i] for i in best]
    # two different numbers become 1 and 0: e / (e + 1) = .731
    assert weights[0].tolist() == pytest.approx([0.7311, 0.2689], abs=1e-3)
    visual = world.gallery.visual[rows[0]] - world.gallery.mean_visual
    torch.testing.assert_close(p_ret[0], weights[0, 0] * visual[0] + weights[0, 1] * visual[1])


def test_normalisation_and_temperature_reach_the_weights_and_p_ret(world: World) -> None:
    """Two items: e^s / (e^s + e^s') depends on the difference of what the softmax is given."""
    plain = world.ragar(replace(SMALL, normalization="none"))
    rows, weights, _ = plain.retrieve([ASKED])
    cosines = world.gallery.semantic[rows[0]] @ world.gallery.semantic[world.gallery.rows([ASKED.reference])[0]]
    assert weights[0, 0].item() == pytest.approx(1 / (1 + math.exp(cosines[1] - cosines[0])), abs=1e-6)
    visual = world.gallery.visual[rows[0]] - world.gallery.mean_visual
    for changes, first in (
        ({"temperature": 2.0}, 0.6225),  # 1 and 0, halved: e^.5 / (e^.5 + 1)
        ({"temperature": 0.25}, 0.9820),  # 4 and 0
        ({"normalization": "zscore"}, 0.8808),  # +1 and -1: e / (e + 1/e)
        ({"normalization": "zscore", "temperature": 0.5}, 0.9820),  # doubled
    ):
        again, weights, p_ret = world.ragar(replace(SMALL, **changes)).retrieve([ASKED])  # type: ignore[arg-type]
        assert torch.equal(again, rows)
        assert weights[0].tolist() == pytest.approx([first, 1 - first], abs=2e-4)
        torch.testing.assert_close(p_ret[0], weights[0] @ visual)


def test_only_the_most_recent_items_are_looked_at(ragar: Ragar) -> None:
    # history_length 4: the reference's own picture, five items ago, is not found again
    rows, _, _ = ragar.retrieve([request("red-circle", "red-circle", "blue-bar", "teal-bar", "pink-bar", "green-bar")])
    assert 0 not in rows[0].tolist()


def test_an_item_without_a_picture_may_be_retrieved_but_is_not_in_p_ret(ragar: Ragar, world: World) -> None:
    rows, weights, p_ret = ragar.retrieve([request("red-circle", "hole", "blue-bar")])
    assert set(rows[0].tolist()) == {24, int(world.gallery.rows(["blue-bar"])[0])}
    assert weights[0].sum().item() == pytest.approx(1)
    blue = world.gallery.visual[world.gallery.rows(["blue-bar"])[0]] - world.gallery.mean_visual
    torch.testing.assert_close(p_ret[0], blue)
    _, _, nothing = ragar.retrieve([request("red-circle", "hole")])
    assert nothing[0].abs().sum() == 0


def test_a_short_history_gives_what_it_has(ragar: Ragar) -> None:
    preference = ragar.encode_preference([OTHER])
    assert preference.explanations[0].retrieved == ("green-bar",)
    assert preference.explanations[0].weights == (1.0,)


def test_next_k_skips_the_best_and_may_find_nothing(world: World) -> None:
    config = replace(SMALL, history="next_k")
    first, following = world.ragar().retrieve([ASKED]), world.ragar(config).retrieve([ASKED])
    assert sorted([*first[0][0].tolist(), *following[0][0].tolist()]) == sorted(
        world.gallery.rows(ASKED.history).tolist()
    )
    nothing = world.ragar(config).encode_preference([OTHER])
    assert nothing.explanations[0].retrieved == ()
    assert nothing.explanations[0].keywords == ()
    assert nothing.retrieved.abs().sum() == 0
    assert nothing.detail.isfinite().all()


def test_a_random_history_is_the_requests_own_draw(world: World) -> None:
    ragar = world.ragar(replace(SMALL, history="random", k=1))
    requests = [replace(ASKED, seed=seed) for seed in range(12)]
    alone = [ragar.retrieve([one])[0].item() for one in requests]
    assert len(set(alone)) > 1
    assert ragar.retrieve(requests)[0][:, 0].tolist() == alone
    short = request("red-circle", "blue-bar", "teal-bar", seed=5)
    assert ragar.retrieve([short])[0].item() == ragar.retrieve([ASKED, short])[0][1].item()


def test_an_empty_history_names_the_user(ragar: Ragar) -> None:
    with pytest.raises(ValueError, match="user w has an empty history"):
        ragar.generate([ASKED, request("red-circle", user="w")])


# --- the preference -------------------------------------------------------------------------------------------------


def test_the_explanation_is_what_was_used(ragar: Ragar, world: World) -> None:
    (why,) = ragar.encode_preference([ASKED]).explanations
    rows, weights, _ = ragar.retrieve([ASKED])
    assert why.retrieved == tuple(world.gallery.ids[row] for row in rows[0])
    assert why.weights == pytest.approx(weights[0].tolist())
    # three keywords are kept; those of the item with weight .88 come first
    assert why.keywords == world.gallery.keywords[int(rows[0, 0])]


def test_keywords_of_the_whole_history_count_equally(world: World) -> None:
    ragar = world.ragar(replace(SMALL, keywords_from="history", n_keywords=1))
    asked = request("red-circle", "red-bar", "teal-bar", "blue-circle", "pink-bar")
    (why,) = ragar.encode_preference([asked]).explanations
    assert why.keywords == ("bar",)  # three of four items


def test_the_sequence_is_detail_rows_and_then_the_global_ones(ragar: Ragar) -> None:
    preference = ragar.encode_preference([ASKED, OTHER])
    # 4 prompt rows and 16 of the mapper, then the 16 of the encoded text
    assert preference.detail.shape == (2, 20, 32)
    assert preference.embeds().shape == (2, 36, 32)
    assert torch.equal(preference.embeds()[:, 20:], preference.overall)
    # the calibrator begins as the identity: E_d itself
    assert torch.equal(preference.detail, torch.cat([preference.text, preference.mapped], dim=1))
    noisy = preference.detail + 1
    assert torch.equal(preference.embeds(noisy)[:, :20], noisy)


@pytest.mark.parametrize(("mode", "rows"), [("residual_concat", 36), ("residual", 20), ("literal", 36)])
def test_every_calibrator_mode_gives_a_picture(world: World, mode: str, rows: int) -> None:
    made = stirred(world, replace(SMALL, calibrator=mode))  # type: ignore[arg-type]
    assert made.encode_preference([ASKED]).embeds().shape == (1, rows, 32)
    assert made.generate([ASKED]).isfinite().all()


def test_another_reference_changes_the_preference(ragar: Ragar) -> None:
    mine = ragar.encode_preference([ASKED])
    other = ragar.encode_preference([replace(ASKED, reference="blue-square")])
    same = ragar.encode_preference([ASKED], retrieved=ragar.retrieve([ASKED]))
    assert difference(mine.embeds(), same.embeds()) == 0
    assert difference(mine.detail, other.detail) > 1e-3
    assert difference(mine.overall, other.overall) > 1e-3


def test_another_reference_alone_changes_the_preference(ragar: Ragar) -> None:
    # with the same retrieval: as printed, eq. 6-9 would give the same P_gen
    found = ragar.retrieve([ASKED])
    mine, other = (
        ragar.encode_preference([replace(ASKED, reference=reference)], retrieved=found)
        for reference in ("red-circle", "blue-square")
    )
    assert difference(mine.detail, other.detail) > 1e-3


def test_another_retrieval_weight_changes_the_preference(world: World) -> None:
    mine, other = (
        world.ragar(replace(SMALL, temperature=temperature)).encode_preference([ASKED]) for temperature in (1.0, 3.0)
    )
    assert mine.explanations[0].retrieved == other.explanations[0].retrieved
    assert mine.explanations[0].keywords == other.explanations[0].keywords
    assert difference(mine.detail, other.detail) > 1e-4  # through P_ret, the mapper's extra row


def test_a_keywords_weight_reaches_the_calibrator(world: World) -> None:
    made = stirred(world)
    rows, weights, p_ret = made.retrieve([ASKED])
    mine = made.encode_preference([ASKED], retrieved=(rows, weights, p_ret))
    other = made.encode_preference([ASKED], retrieved=(rows, torch.tensor([[0.6, 0.4]]), p_ret))
    assert mine.explanations[0].keywords == other.explanations[0].keywords
    assert torch.equal(mine.text, other.text)
    assert torch.equal(mine.mapped, other.mapped)
    assert difference(mine.detail, other.detail) > 1e-5


def test_every_token_of_the_global_text_has_a_weight_and_padding_has_none(ragar: Ragar) -> None:
    tokenizer = ragar.backbone.pipeline.tokenizer
    captions = ["bar, red", "", "circle " * 30]
    keywords = [(("blue", "1950s"), (0.75, 0.25)), (("red",), (1.0,)), ((), ())]
    texts = [", ".join((caption, *words)) for caption, (words, _) in zip(captions, keywords, strict=True)]
    weights = global_row_weights(captions, keywords, tokenizer, ragar.backbone.context)
    for row, text in zip(weights, texts, strict=True):
        # begin, words, end: as many as the tokenizer makes of the whole text, at most 16
        assert int((row > 0).sum()) == len(tokenizer(text, truncation=True).input_ids)
    blue, decade = (len(tokenizer(", " + word, add_special_tokens=False).input_ids) for word in ("blue", "1950s"))
    assert int((weights[0] == 0.75).sum()) == blue
    assert int((weights[0] == 0.25).sum()) == decade


def test_a_batch_does_not_change_its_members(ragar: Ragar) -> None:
    long = request("blue-square", "red-bar", "teal-bar", "pink-square", "hole", seed=8)
    together = ragar.encode_preference([OTHER, ASKED, long])
    alone = ragar.encode_preference([ASKED])
    torch.testing.assert_close(together.embeds()[1], alone.embeds()[0], atol=1e-5, rtol=0)
    assert together.explanations[1] == alone.explanations[0]


# --- pictures -------------------------------------------------------------------------------------------------------


def test_the_negative_has_the_same_shape_and_repeats_the_empty_prompt(ragar: Ragar) -> None:
    embeds = ragar.encode_preference([ASKED, OTHER]).embeds()
    negative = ragar.negative(embeds)
    empty = ragar.backbone.states([""])[0]
    assert negative.shape == embeds.shape == (2, 36, 32)
    for rows in (slice(0, 16), slice(16, 32)):
        assert torch.equal(negative[1, rows], empty)
    assert torch.equal(negative[0, 32:], empty[:4])


def test_the_same_request_gives_the_same_picture_whatever_stands_beside_it(world: World) -> None:
    ragar = stirred(world)
    pictures = ragar.generate([OTHER, ASKED])
    assert pictures.shape == (2, 3, 48, 32)
    assert torch.equal(ragar.generate([OTHER, ASKED]), pictures)
    torch.testing.assert_close(ragar.generate([ASKED])[0], pictures[1], atol=1e-5, rtol=0)
    assert isinstance(ragar, Generator)


def test_seed_reference_history_and_weights_all_show_in_the_picture(world: World) -> None:
    ragar = stirred(world)
    mine = ragar.generate([ASKED])
    for other in (
        replace(ASKED, seed=99),
        replace(ASKED, reference="red-bar"),
        replace(ASKED, history=("pink-bar", "hole")),
    ):
        assert difference(ragar.generate([other]), mine) > 1e-3
    assert difference(world.ragar().generate([ASKED]), mine) > 1e-3


def test_the_users_name_does_not_show(ragar: Ragar) -> None:
    assert torch.equal(ragar.generate([replace(ASKED, user="somebody else")]), ragar.generate([ASKED]))


def test_the_global_picture_is_drawn_from_the_global_rows_alone(world: World) -> None:
    ragar = world.ragar()
    expected = ragar.render(ragar.encode_preference([ASKED]).overall, [ASKED])
    assert torch.equal(ragar.generate_global([ASKED]), expected)
    assert torch.equal(stirred(world).generate_global([ASKED]), expected)  # training cannot move it
    assert difference(ragar.generate([ASKED]), expected) > 1e-4


def test_text_to_image_begins_from_noise(world: World) -> None:
    noise = world.ragar(replace(SMALL, text_to_image=True))
    embeds = noise.encode_preference([ASKED]).embeds()
    elsewhere = replace(ASKED, reference="blue-bar")
    assert torch.equal(noise.render(embeds, [ASKED]), noise.render(embeds, [elsewhere]))
    image = world.ragar()
    assert difference(image.render(embeds, [ASKED]), image.render(embeds, [elsewhere])) > 0.1


def test_generation_changes_nothing(world: World) -> None:
    ragar = world.ragar()
    before = {name: value.clone() for name, value in ragar.state_dict().items()}
    unet = {name: value.clone() for name, value in world.backbone.pipeline.unet.state_dict().items()}
    state = torch.random.get_rng_state()
    ragar.generate([ASKED])
    assert all(torch.equal(value, before[name]) for name, value in ragar.state_dict().items())
    assert all(torch.equal(value, unet[name]) for name, value in world.backbone.pipeline.unet.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)


# --- what is trained, and its folder --------------------------------------------------------------------------------


def test_trained_are_the_rows_the_projection_the_mapper_and_the_calibrator(world: World) -> None:
    parts = {name.split(".")[0] for name in world.ragar().trained_parts()}
    assert parts == {"language", "project_text", "mapper", "calibrator"}
    assert [n for n in world.ragar().trained_parts() if n.startswith("language")] == ["language.image_rows"]
    literal = world.ragar(replace(SMALL, calibrator="literal")).trained_parts()
    assert not any(name.startswith("calibrator") for name in literal)


def test_a_saved_generator_draws_the_same_picture(world: World, tmp_path: Path) -> None:
    ragar = stirred(world, replace(SMALL, temperature=0.5))
    ragar.save_pretrained(tmp_path)
    loaded = Ragar.from_pretrained(
        tmp_path, world.backbone, world.language(), world.gallery, text_projection=world.encoder.text_projection
    )
    assert loaded.config == ragar.config
    assert torch.equal(loaded.generate([ASKED]), ragar.generate([ASKED]))
    assert difference(world.ragar().generate([ASKED]), ragar.generate([ASKED])) > 1e-3


@pytest.mark.parametrize("part", ["config.json", "model.safetensors"])
def test_a_folder_without_a_generator_says_what_is_missing(world: World, tmp_path: Path, part: str) -> None:
    world.ragar().save_pretrained(tmp_path)
    (tmp_path / part).unlink()
    with pytest.raises(FileNotFoundError, match=f"no {part} in"):
        Ragar.from_pretrained(
            tmp_path, world.backbone, world.language(), world.gallery, text_projection=world.encoder.text_projection
        )


def test_other_shapes_and_names_are_refused_and_nothing_is_loaded(world: World) -> None:
    ragar = world.ragar()
    before = ragar.mapper.queries.detach().clone()
    wider = dict(world.ragar(replace(SMALL, mapper_width=64)).trained_parts())
    with pytest.raises(ValueError, match=r"another configuration: .*mapper"):
        ragar.load_trained({name: value + 1 for name, value in wider.items()})
    literal = dict(world.ragar(replace(SMALL, calibrator="literal")).trained_parts())
    with pytest.raises(ValueError, match=r"another configuration: calibrator"):
        ragar.load_trained({name: value + 1 for name, value in literal.items()})
    assert torch.equal(ragar.mapper.queries, before)


def test_a_prompt_with_the_keywords_shares_of_the_weight(world: World) -> None:
    mine = Ragar(
        world.backbone,
        world.language(),
        world.gallery,
        replace(SMALL, n_keywords=2),
        text_projection=world.encoder.text_projection,
        prompt="{caption}: {weighted_keywords} / {keywords}",
    )
    # 1.5 in all
    assert (
        mine.prompt(("red", "bar", "teal"), "x", (0.75, 0.5, 0.25))
        == "x: red (50 %), bar (33 %), teal (17 %) / red, bar, teal"
    )
    assert mine.prompt(("red", "bar"), "x") == "x: red (50 %), bar (50 %) / red, bar"
    assert mine.prompt((), "x") == "x:  / "
    # both are bars, and one of them counts .6: 1 / 1.6 and .6 / 1.6
    rows = world.gallery.rows(["red-bar", "teal-bar"])[None]
    retrieved = (rows, torch.tensor([[0.6, 0.4]]), torch.zeros(1, 16))
    (said,) = mine.describe([request("blue-circle", "red-bar", "teal-bar")], retrieved).prompts
    assert said.endswith(": bar (62 %), red (38 %) / bar, red")


def test_another_prompt_is_what_the_language_model_reads_and_is_saved_with_the_generator(
    world: World, tmp_path: Path
) -> None:
    parts = (world.backbone, world.language(), world.gallery)
    projection = world.encoder.text_projection
    mine = Ragar(*parts, SMALL, text_projection=projection, prompt="caption {caption}, taste {keywords}")
    assert mine.prompt(("red", "bar"), "blue circle") == "caption blue circle, taste red, bar"
    made = mine.encode_preference([ASKED])
    assert difference(made.text, world.ragar().encode_preference([ASKED]).text) > 1e-3
    mine.save_pretrained(tmp_path)
    loaded = Ragar.from_pretrained(tmp_path, *parts, text_projection=projection)
    assert torch.equal(loaded.encode_preference([ASKED]).embeds(), made.embeds())


def test_a_history_without_any_picture_gives_words_but_no_visual_feature(world: World) -> None:
    """Eq. 5 has nothing to average: P_ret is 0, which centred features call the mean picture; the words remain."""
    ragar = world.ragar()
    (made, other) = (ragar.encode_preference([request("red-circle", past)]) for past in ("hole", "blue-bar"))
    assert made.explanations[0].retrieved == ("hole",)
    assert made.explanations[0].weights == (1.0,)
    assert set(made.explanations[0].keywords) == set(world.gallery.keywords[24])
    assert made.retrieved.tolist() == [[0.0] * 16]
    assert other.retrieved.abs().sum() > 0
    assert ragar.generate([request("red-circle", "hole")]).isfinite().all()


def test_pictures_of_another_size_are_refused(world: World) -> None:
    other = Backbone(world.backbone.pipeline, size=(96, 64))
    with pytest.raises(ValueError, match=r"pictures are \(48, 32\), the backbone works at \(96, 64\)"):
        Ragar(other, world.language(), world.gallery, SMALL, text_projection=world.encoder.text_projection)


def test_settings_that_cannot_be_run_are_all_named() -> None:
    assert list(RagarConfig().conflicts()) == []
    assert list(SMALL.conflicts()) == []
    config = RagarConfig(k=11, history="next_k", strength=0.0, guidance_scale=0.5, temperature=0.0, steps=0)
    found = "\n".join(config.conflicts())
    for part in (
        "k 11 with history next_k needs 22 items, but history_length is 20",
        "strength 0.0",
        "guidance_scale 0.5",
        "temperature 0.0",
        "steps must be at least 1",
    ):
        assert part in found


# --- LoRA -----------------------------------------------------------------------------------------------------------


def test_untrained_lora_changes_no_picture_and_is_trained_with_the_rest(world: World) -> None:
    ragar = stirred(world)
    parts, before = ragar.trained_parts(), ragar.generate([ASKED, OTHER])
    ragar.add_lora(2, torch.Generator())
    assert torch.equal(ragar.generate([ASKED, OTHER]), before)
    added = ragar.trained_parts().keys() - parts.keys()
    assert {name: ragar.trained_parts()[name] for name in added} == ragar.painter.lora
    assert len(added) == 64
    with pytest.raises(ValueError, match=r"the UNet has LoRA already \(ragar\)"):
        ragar.add_lora(2, torch.Generator())


def test_lora_shows_in_v_gen_alone(world: World) -> None:
    plain, ragar = stirred(world), stirred(world, lora=2)
    plain.load_trained({name: ragar.trained_parts()[name] for name in plain.trained_parts()})
    assert torch.equal(ragar.encode_preference([ASKED]).embeds(), plain.encode_preference([ASKED]).embeds())
    assert difference(ragar.generate([ASKED]), plain.generate([ASKED])) > 1e-3
    assert torch.equal(ragar.generate_global([ASKED]), world.ragar().generate_global([ASKED]))
    embeds = ragar.encode_preference([ASKED]).embeds()
    assert torch.equal(ragar.render(embeds, [ASKED], lora=False), plain.generate([ASKED]))


def folder_of(ragar: Ragar, folder: Path) -> Path:
    ragar.save_pretrained(folder)
    return folder


def loaded(world: World, folder: Path) -> Ragar:
    return Ragar.from_pretrained(
        folder, world.backbone, world.language(), world.gallery, text_projection=world.encoder.text_projection
    )


def test_lora_is_saved_and_read_with_the_generator(world: World, tmp_path: Path) -> None:
    ragar = stirred(world, lora=3)
    made = loaded(world, folder_of(ragar, tmp_path))
    assert made.lora_rank == 3
    assert made.trained_parts().keys() == ragar.trained_parts().keys()
    assert torch.equal(made.generate([ASKED]), ragar.generate([ASKED]))
    made.load(folder_of(stirred(world), tmp_path))  # one without, in the same folder and the same generator
    assert not (tmp_path / LORA_FILE).exists()
    assert (made.lora_rank, made.painter) == (0, world.backbone)
    assert torch.equal(made.generate([ASKED]), stirred(world).generate([ASKED]))


def test_a_file_of_lora_that_is_missing_pickled_or_anothers_is_refused(world: World, tmp_path: Path) -> None:
    folder = folder_of(stirred(world, lora=3), tmp_path / "mine")
    other = folder_of(stirred(world, lora=2), tmp_path / "other")
    (folder / LORA_FILE).write_bytes((other / LORA_FILE).read_bytes())
    with pytest.raises(ValueError, match=r"another configuration: unet\."):
        loaded(world, folder)
    (folder / LORA_FILE).unlink()
    with pytest.raises(FileNotFoundError, match=f"no {LORA_FILE} in"):
        loaded(world, folder)
    torch.save({}, folder / "pytorch_lora_weights.bin")
    with pytest.raises(ValueError, match=r"pytorch_lora_weights\.bin is a pickle"):
        loaded(world, folder)


def test_the_placed_generator_keeps_lora_as_it_keeps_what_else_is_trained(world: World, tmp_path: Path) -> None:
    world.backbone.save_pretrained(tmp_path)
    parts = (Backbone.from_pretrained(tmp_path, (48, 32)), world.language(), world.gallery)
    ragar = Ragar(*parts, SMALL, text_projection=world.encoder.text_projection)
    ragar.load_trained(dict(stirred(world).trained_parts()))
    ragar.add_lora(2, torch.Generator())
    ragar.place("cpu", torch.bfloat16)
    assert {value.dtype for value in ragar.trained_parts().values()} == {torch.float32}
    assert {backbone.pipeline.unet.conv_in.weight.dtype for backbone in (ragar.backbone, ragar.painter)} == {
        torch.bfloat16
    }
    assert ragar.generate([ASKED]).dtype == torch.float32
