"""RAGAR: what a preference is made of, what changes a picture, and what never does."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from generation.backbone.backbone import LORA_FILE, Backbone
from generation.ragar.config import HistoryMode, RagarConfig
from generation.ragar.description import global_row_weights
from generation.ragar.ragar import Ragar
from generation.request import Generator
from generation_world import SMALL, World, request

REQUEST = request("red-circle", "orange-circle", "blue-bar", "red-bar", "teal-square", seed=3)
SHORT_REQUEST = request("pink-bar", "green-bar", seed=4, user="v")


@pytest.fixture(scope="module")
def ragar(world: World) -> Ragar:
    """Never trained: tests that change weights make their own."""
    return world.ragar()


def perturbed(world: World, config: RagarConfig = SMALL, *, lora: int = 0) -> Ragar:
    """A generator whose trained parts are not at their initial values (the calibrator begins as the identity)."""
    ragar = world.ragar(config)
    generator = torch.Generator().manual_seed(9)
    if lora:
        ragar.add_lora(lora, torch.Generator())
    with torch.no_grad():
        for value in ragar.trained_parts().values():
            value.add_(0.2 * torch.randn(value.shape, generator=generator))
    return ragar


def max_difference(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


# --- retrieval inside the generator ---------------------------------------------------------------------------------


def test_retrieval_takes_the_most_similar_captions_of_the_history(ragar: Ragar, world: World) -> None:
    rows, weights, p_ret = ragar.retrieve([REQUEST])
    reference, *history = world.gallery.semantic[world.gallery.rows([REQUEST.reference, *REQUEST.history])]
    cosines = [float(reference @ past) for past in history]  # both are unit vectors
    best = sorted(range(4), key=lambda i: -cosines[i])[:2]
    assert [world.gallery.ids[row] for row in rows[0]] == [REQUEST.history[i] for i in best]
    # two different numbers become 1 and 0: e / (e + 1) = .731
    assert weights[0].tolist() == pytest.approx([0.7311, 0.2689], abs=1e-3)
    visual = world.gallery.visual[rows[0]] - world.gallery.mean_visual
    torch.testing.assert_close(p_ret[0], weights[0, 0] * visual[0] + weights[0, 1] * visual[1])


def test_normalisation_and_temperature_reach_the_weights_and_p_ret(world: World) -> None:
    """Two items: e^s / (e^s + e^s') depends on the difference of what the softmax is given."""
    plain = world.ragar(replace(SMALL, normalization="none"))
    rows, weights, _ = plain.retrieve([REQUEST])
    cosines = world.gallery.semantic[rows[0]] @ world.gallery.semantic[world.gallery.rows([REQUEST.reference])[0]]
    assert weights[0, 0].item() == pytest.approx(1 / (1 + math.exp(cosines[1] - cosines[0])), abs=1e-6)
    visual = world.gallery.visual[rows[0]] - world.gallery.mean_visual
    for changes, first in (
        ({"temperature": 2.0}, 0.6225),  # 1 and 0, halved: e^.5 / (e^.5 + 1)
        ({"temperature": 0.25}, 0.9820),  # 4 and 0
        ({"normalization": "zscore"}, 0.8808),  # +1 and -1: e / (e + 1/e)
        ({"normalization": "zscore", "temperature": 0.5}, 0.9820),  # doubled
    ):
        again, weights, p_ret = world.ragar(replace(SMALL, **changes)).retrieve([REQUEST])  # type: ignore[arg-type]
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
    _, _, empty = ragar.retrieve([request("red-circle", "hole")])
    assert empty[0].abs().sum() == 0


def test_a_short_history_gives_what_it_has(ragar: Ragar) -> None:
    preference = ragar.encode_preference([SHORT_REQUEST])
    assert preference.explanations[0].retrieved == ("green-bar",)
    assert preference.explanations[0].weights == (1.0,)


def test_next_k_skips_the_best_and_may_find_nothing(world: World) -> None:
    config = replace(SMALL, history="next_k")
    top_k, next_k = world.ragar().retrieve([REQUEST]), world.ragar(config).retrieve([REQUEST])
    assert sorted([*top_k[0][0].tolist(), *next_k[0][0].tolist()]) == sorted(
        world.gallery.rows(REQUEST.history).tolist()
    )
    empty = world.ragar(config).encode_preference([SHORT_REQUEST])
    assert empty.explanations[0].retrieved == ()
    assert empty.explanations[0].keywords == ()
    assert empty.retrieved.abs().sum() == 0
    assert empty.detail.isfinite().all()


@pytest.mark.parametrize("history", ["top_k", "next_k", "random"])
def test_k_0_retrieves_nothing(world: World, history: HistoryMode) -> None:
    ragar = world.ragar(replace(SMALL, history=history, k=0))
    preference = ragar.encode_preference([REQUEST, SHORT_REQUEST])
    assert [each.retrieved for each in preference.explanations] == [(), ()]
    assert preference.retrieved.abs().sum() == 0
    assert ragar.generate([REQUEST]).isfinite().all()


def test_a_random_history_is_the_requests_own_draw(world: World) -> None:
    ragar = world.ragar(replace(SMALL, history="random", k=1))
    requests = [replace(REQUEST, seed=seed) for seed in range(12)]
    alone = [ragar.retrieve([each])[0].item() for each in requests]
    assert len(set(alone)) > 1
    assert ragar.retrieve(requests)[0][:, 0].tolist() == alone
    short = request("red-circle", "blue-bar", "teal-bar", seed=5)
    assert ragar.retrieve([short])[0].item() == ragar.retrieve([REQUEST, short])[0][1].item()


def test_an_empty_history_names_the_user(ragar: Ragar) -> None:
    with pytest.raises(ValueError, match="user w has an empty history"):
        ragar.generate([REQUEST, request("red-circle", user="w")])


# --- the preference -------------------------------------------------------------------------------------------------


def test_the_explanation_is_what_was_used(ragar: Ragar, world: World) -> None:
    (why,) = ragar.encode_preference([REQUEST]).explanations
    rows, weights, _ = ragar.retrieve([REQUEST])
    assert why.retrieved == tuple(world.gallery.ids[row] for row in rows[0])
    assert why.weights == pytest.approx(weights[0].tolist())
    # three keywords are kept; those of the item with weight .88 come first
    assert why.keywords == world.gallery.keywords[int(rows[0, 0])]


def test_keywords_of_the_whole_history_count_equally(world: World) -> None:
    ragar = world.ragar(replace(SMALL, keywords_from="history", n_keywords=1))
    four_items = request("red-circle", "red-bar", "teal-bar", "blue-circle", "pink-bar")
    (why,) = ragar.encode_preference([four_items]).explanations
    assert why.keywords == ("bar",)  # three of four items


def test_the_sequence_is_detail_rows_and_then_the_global_ones(ragar: Ragar) -> None:
    preference = ragar.encode_preference([REQUEST, SHORT_REQUEST])
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
    ragar = perturbed(world, replace(SMALL, calibrator=mode))  # type: ignore[arg-type]
    assert ragar.encode_preference([REQUEST]).embeds().shape == (1, rows, 32)
    assert ragar.generate([REQUEST]).isfinite().all()


def test_another_reference_changes_the_preference(ragar: Ragar) -> None:
    first = ragar.encode_preference([REQUEST])
    second = ragar.encode_preference([replace(REQUEST, reference="blue-square")])
    again = ragar.encode_preference([REQUEST], retrieved=ragar.retrieve([REQUEST]))
    assert max_difference(first.embeds(), again.embeds()) == 0
    assert max_difference(first.detail, second.detail) > 1e-3
    assert max_difference(first.overall, second.overall) > 1e-3


def test_another_reference_alone_changes_the_preference(ragar: Ragar) -> None:
    # with the same retrieval: as printed, eq. 6-9 would give the same P_gen
    retrieved = ragar.retrieve([REQUEST])
    first, second = (
        ragar.encode_preference([replace(REQUEST, reference=reference)], retrieved=retrieved)
        for reference in ("red-circle", "blue-square")
    )
    assert max_difference(first.detail, second.detail) > 1e-3


def test_another_retrieval_weight_changes_the_preference(world: World) -> None:
    sharp, flat = (
        world.ragar(replace(SMALL, temperature=temperature)).encode_preference([REQUEST]) for temperature in (1.0, 3.0)
    )
    assert sharp.explanations[0].retrieved == flat.explanations[0].retrieved
    assert sharp.explanations[0].keywords == flat.explanations[0].keywords
    assert max_difference(sharp.detail, flat.detail) > 1e-4  # through P_ret, the mapper's extra row


def test_a_keywords_weight_reaches_the_calibrator(world: World) -> None:
    ragar = perturbed(world)
    rows, weights, p_ret = ragar.retrieve([REQUEST])
    first = ragar.encode_preference([REQUEST], retrieved=(rows, weights, p_ret))
    second = ragar.encode_preference([REQUEST], retrieved=(rows, torch.tensor([[0.6, 0.4]]), p_ret))
    assert first.explanations[0].keywords == second.explanations[0].keywords
    assert torch.equal(first.text, second.text)
    assert torch.equal(first.mapped, second.mapped)
    assert max_difference(first.detail, second.detail) > 1e-5


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
    together = ragar.encode_preference([SHORT_REQUEST, REQUEST, long])
    alone = ragar.encode_preference([REQUEST])
    torch.testing.assert_close(together.embeds()[1], alone.embeds()[0], atol=1e-5, rtol=0)
    assert together.explanations[1] == alone.explanations[0]


# --- pictures -------------------------------------------------------------------------------------------------------


def test_the_negative_has_the_same_shape_and_repeats_the_empty_prompt(ragar: Ragar) -> None:
    embeds = ragar.encode_preference([REQUEST, SHORT_REQUEST]).embeds()
    negative = ragar.backbone.negative(embeds)
    empty = ragar.backbone.states([""])[0]
    assert negative.shape == embeds.shape == (2, 36, 32)
    for rows in (slice(0, 16), slice(16, 32)):
        assert torch.equal(negative[1, rows], empty)
    assert torch.equal(negative[0, 32:], empty[:4])


def test_the_same_request_gives_the_same_picture_in_any_batch(world: World) -> None:
    ragar = perturbed(world)
    pictures = ragar.generate([SHORT_REQUEST, REQUEST])
    assert pictures.shape == (2, 3, 48, 32)
    assert torch.equal(ragar.generate([SHORT_REQUEST, REQUEST]), pictures)
    torch.testing.assert_close(ragar.generate([REQUEST])[0], pictures[1], atol=1e-5, rtol=0)
    assert isinstance(ragar, Generator)


def test_seed_reference_history_and_weights_all_show_in_the_picture(world: World) -> None:
    ragar = perturbed(world)
    picture = ragar.generate([REQUEST])
    for changed in (
        replace(REQUEST, seed=99),
        replace(REQUEST, reference="red-bar"),
        replace(REQUEST, history=("pink-bar", "hole")),
    ):
        assert max_difference(ragar.generate([changed]), picture) > 1e-3
    assert max_difference(world.ragar().generate([REQUEST]), picture) > 1e-3


def test_the_user_id_does_not_change_the_picture(ragar: Ragar) -> None:
    assert torch.equal(ragar.generate([replace(REQUEST, user="somebody else")]), ragar.generate([REQUEST]))


def test_the_global_picture_is_drawn_from_the_global_rows_alone(world: World) -> None:
    ragar = world.ragar()
    expected = ragar.render(ragar.encode_preference([REQUEST]).overall, [REQUEST])
    assert torch.equal(ragar.generate_global([REQUEST]), expected)
    assert torch.equal(perturbed(world).generate_global([REQUEST]), expected)  # training cannot move it
    assert max_difference(ragar.generate([REQUEST]), expected) > 1e-4


def test_text_to_image_begins_from_noise(world: World) -> None:
    noise = world.ragar(replace(SMALL, text_to_image=True))
    embeds = noise.encode_preference([REQUEST]).embeds()
    elsewhere = replace(REQUEST, reference="blue-bar")
    assert torch.equal(noise.render(embeds, [REQUEST]), noise.render(embeds, [elsewhere]))
    image = world.ragar()
    assert max_difference(image.render(embeds, [REQUEST]), image.render(embeds, [elsewhere])) > 0.1


def test_generation_changes_nothing(world: World) -> None:
    ragar = world.ragar()
    before = {name: value.clone() for name, value in ragar.state_dict().items()}
    unet = {name: value.clone() for name, value in world.backbone.pipeline.unet.state_dict().items()}
    state = torch.random.get_rng_state()
    ragar.generate([REQUEST])
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
    ragar = perturbed(world, replace(SMALL, temperature=0.5))
    ragar.save_pretrained(tmp_path)
    loaded = Ragar.from_pretrained(
        tmp_path, world.backbone, world.language(), world.gallery, text_projection=world.encoder.text_projection
    )
    assert loaded.config == ragar.config
    assert torch.equal(loaded.generate([REQUEST]), ragar.generate([REQUEST]))
    assert max_difference(world.ragar().generate([REQUEST]), ragar.generate([REQUEST])) > 1e-3


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
    ragar = Ragar(
        world.backbone,
        world.language(),
        world.gallery,
        replace(SMALL, n_keywords=2),
        text_projection=world.encoder.text_projection,
        prompt="{caption}: {weighted_keywords} / {keywords}",
    )
    # 1.5 in all
    assert (
        ragar.prompt(("red", "bar", "teal"), "x", (0.75, 0.5, 0.25))
        == "x: red (50 %), bar (33 %), teal (17 %) / red, bar, teal"
    )
    assert ragar.prompt(("red", "bar"), "x") == "x: red (50 %), bar (50 %) / red, bar"
    assert ragar.prompt((), "x") == "x:  / "
    # both are bars, and one of them counts .6: 1 / 1.6 and .6 / 1.6
    rows = world.gallery.rows(["red-bar", "teal-bar"])[None]
    retrieved = (rows, torch.tensor([[0.6, 0.4]]), torch.zeros(1, 16))
    (prompt,) = ragar.describe([request("blue-circle", "red-bar", "teal-bar")], retrieved).prompts
    assert prompt.endswith(": bar (62 %), red (38 %) / bar, red")


def test_another_prompt_is_what_the_language_model_reads_and_is_saved_with_the_generator(
    world: World, tmp_path: Path
) -> None:
    parts = (world.backbone, world.language(), world.gallery)
    projection = world.encoder.text_projection
    ragar = Ragar(*parts, SMALL, text_projection=projection, prompt="caption {caption}, taste {keywords}")
    assert ragar.prompt(("red", "bar"), "blue circle") == "caption blue circle, taste red, bar"
    preference = ragar.encode_preference([REQUEST])
    assert max_difference(preference.text, world.ragar().encode_preference([REQUEST]).text) > 1e-3
    ragar.save_pretrained(tmp_path)
    loaded = Ragar.from_pretrained(tmp_path, *parts, text_projection=projection)
    assert torch.equal(loaded.encode_preference([REQUEST]).embeds(), preference.embeds())


def test_a_history_without_any_picture_gives_words_but_no_visual_feature(world: World) -> None:
    """Eq. 5 has nothing to average: P_ret is 0, which centred features call the mean picture; the words remain."""
    ragar = world.ragar()
    (unpictured, pictured) = (ragar.encode_preference([request("red-circle", past)]) for past in ("hole", "blue-bar"))
    assert unpictured.explanations[0].retrieved == ("hole",)
    assert unpictured.explanations[0].weights == (1.0,)
    assert set(unpictured.explanations[0].keywords) == set(world.gallery.keywords[24])
    assert unpictured.retrieved.tolist() == [[0.0] * 16]
    assert pictured.retrieved.abs().sum() > 0
    assert ragar.generate([request("red-circle", "hole")]).isfinite().all()


def test_pictures_of_another_size_are_refused(world: World) -> None:
    larger = Backbone(world.backbone.pipeline, size=(96, 64))
    with pytest.raises(ValueError, match=r"pictures are \(48, 32\), the backbone works at \(96, 64\)"):
        Ragar(larger, world.language(), world.gallery, SMALL, text_projection=world.encoder.text_projection)


def test_settings_that_cannot_be_run_are_all_named() -> None:
    assert list(RagarConfig().conflicts()) == []
    assert list(SMALL.conflicts()) == []
    config = RagarConfig(k=11, history="next_k", strength=0.0, guidance_scale=0.5, temperature=0.0, steps=0)
    sentences = "\n".join(config.conflicts())
    for sentence in (
        "k 11 with history next_k needs 22 items, but history_length is 20",
        "strength 0.0",
        "guidance_scale 0.5",
        "temperature 0.0",
        "steps must be at least 1",
    ):
        assert sentence in sentences


# --- LoRA -----------------------------------------------------------------------------------------------------------


def test_untrained_lora_changes_no_picture_and_is_trained_with_the_rest(world: World) -> None:
    ragar = perturbed(world)
    parts, before = ragar.trained_parts(), ragar.generate([REQUEST, SHORT_REQUEST])
    ragar.add_lora(2, torch.Generator())
    assert torch.equal(ragar.generate([REQUEST, SHORT_REQUEST]), before)
    added = ragar.trained_parts().keys() - parts.keys()
    assert {name: ragar.trained_parts()[name] for name in added} == ragar.sampling_backbone.lora
    assert len(added) == 64
    with pytest.raises(ValueError, match=r"the UNet has LoRA already \(ragar\)"):
        ragar.add_lora(2, torch.Generator())


def test_lora_shows_in_v_gen_alone(world: World) -> None:
    plain, ragar = perturbed(world), perturbed(world, lora=2)
    plain.load_trained({name: ragar.trained_parts()[name] for name in plain.trained_parts()})
    assert torch.equal(ragar.encode_preference([REQUEST]).embeds(), plain.encode_preference([REQUEST]).embeds())
    assert max_difference(ragar.generate([REQUEST]), plain.generate([REQUEST])) > 1e-3
    assert torch.equal(ragar.generate_global([REQUEST]), world.ragar().generate_global([REQUEST]))
    embeds = ragar.encode_preference([REQUEST]).embeds()
    assert torch.equal(ragar.render(embeds, [REQUEST], lora=False), plain.generate([REQUEST]))


def folder_of(ragar: Ragar, folder: Path) -> Path:
    ragar.save_pretrained(folder)
    return folder


def loaded(world: World, folder: Path) -> Ragar:
    return Ragar.from_pretrained(
        folder, world.backbone, world.language(), world.gallery, text_projection=world.encoder.text_projection
    )


def test_lora_is_saved_and_read_with_the_generator(world: World, tmp_path: Path) -> None:
    ragar = perturbed(world, lora=3)
    reloaded = loaded(world, folder_of(ragar, tmp_path))
    assert reloaded.lora_rank == 3
    assert reloaded.trained_parts().keys() == ragar.trained_parts().keys()
    assert torch.equal(reloaded.generate([REQUEST]), ragar.generate([REQUEST]))
    reloaded.load(folder_of(perturbed(world), tmp_path))  # one without, in the same folder and the same generator
    assert not (tmp_path / LORA_FILE).exists()
    assert (reloaded.lora_rank, reloaded.sampling_backbone) == (0, world.backbone)
    assert torch.equal(reloaded.generate([REQUEST]), perturbed(world).generate([REQUEST]))


def test_a_file_of_lora_that_is_missing_pickled_or_anothers_is_refused(world: World, tmp_path: Path) -> None:
    folder = folder_of(perturbed(world, lora=3), tmp_path / "mine")
    other_rank = folder_of(perturbed(world, lora=2), tmp_path / "other")
    (folder / LORA_FILE).write_bytes((other_rank / LORA_FILE).read_bytes())
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
    ragar.load_trained(dict(perturbed(world).trained_parts()))
    ragar.add_lora(2, torch.Generator())
    ragar.place("cpu", torch.bfloat16)
    assert {value.dtype for value in ragar.trained_parts().values()} == {torch.float32}
    assert {backbone.pipeline.unet.conv_in.weight.dtype for backbone in (ragar.backbone, ragar.sampling_backbone)} == {
        torch.bfloat16
    }
    assert ragar.generate([REQUEST]).dtype == torch.float32
