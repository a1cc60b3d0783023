"""The language side: a frozen model, [IMG] rows of their own, and states that do not mind the padding."""

from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from generation.language.loading import load_language_model
from generation.ragar.language import PROMPT, LanguageModel
from generation_world import World

SHORT = PROMPT.format(keywords="red", caption="circle")
LONG = PROMPT.format(keywords="red, circle, 1950s, white, blue, bar", caption="square, teal, 1990s in white, teal")


@pytest.fixture(scope="module")
def language(world: World) -> LanguageModel:
    return world.language()


def test_states_are_the_models_own_and_image_features_add_the_embedding(language: LanguageModel) -> None:
    text, images = language([SHORT])
    ids = torch.tensor([language.tokenizer(SHORT).input_ids])
    words = language.model.get_input_embeddings()(ids)
    inputs = torch.cat([words, language.image_rows[None]], dim=1)
    hidden = language.model.model(inputs_embeds=inputs).last_hidden_state
    assert text.shape == (1, 4, 32)
    assert images.shape == (1, 2, 32)
    torch.testing.assert_close(text, hidden[:, -6:-2], atol=1e-5, rtol=0)
    torch.testing.assert_close(images, hidden[:, -2:] + language.image_rows, atol=1e-5, rtol=0)


def test_a_prompt_alone_and_beside_a_longer_one_gives_the_same_states(language: LanguageModel) -> None:
    assert len(language.tokenizer(LONG).input_ids) > len(language.tokenizer(SHORT).input_ids) + 10
    for alone, together in zip(language([SHORT]), language([LONG, SHORT]), strict=True):
        torch.testing.assert_close(alone[0], together[1], atol=1e-5, rtol=0)


def test_a_model_with_absolute_positions_does_not_mind_the_padding_either(world: World) -> None:
    tokenizer = world.language().tokenizer
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = GPT2Config(vocab_size=len(tokenizer), n_positions=200, n_embd=32, n_layer=1, n_head=4)
        model = GPT2LMHeadModel(config)
    language = LanguageModel(model, tokenizer, image_tokens=2, text_rows=4, generator=torch.Generator().manual_seed(0))
    for alone, together in zip(language([SHORT]), language([LONG, SHORT]), strict=True):
        torch.testing.assert_close(alone[0], together[1], atol=1e-5, rtol=0)


def test_image_features_have_read_the_prompt_but_text_states_not_the_image_rows(world: World) -> None:
    language = world.language()
    text, images = language([SHORT])
    _, others = language([LONG])
    assert (images - others).abs().max() > 1e-3
    with torch.no_grad():
        language.image_rows.neg_()
    assert torch.equal(language([SHORT])[0], text)


def test_new_rows_have_the_mean_norm_of_the_frozen_ones(world: World) -> None:
    language = world.language(image_tokens=5)
    mean = language.model.get_input_embeddings().get_parameter("weight").norm(dim=1).mean()
    torch.testing.assert_close(language.image_rows.norm(dim=1), mean.expand(5))
    direction = language.image_rows[0] / language.image_rows[0].norm()
    with torch.no_grad():
        language.image_rows.mul_(7)
    language.renormalise()
    torch.testing.assert_close(language.image_rows.norm(dim=1), mean.expand(5))
    torch.testing.assert_close(language.image_rows[0] / mean, direction)


def test_training_the_rows_leaves_the_model_bit_identical(world: World) -> None:
    language = world.language()
    before = {name: value.clone() for name, value in language.model.state_dict().items()}
    rows = language.image_rows.detach().clone()
    optimizer = torch.optim.Adam([p for p in language.parameters() if p.requires_grad], lr=0.1)
    language.train()  # a parent module's train() must not matter either
    text, images = language([SHORT, LONG])
    (text.sum() + images.pow(2).sum()).backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in language.model.state_dict().items())
    assert not torch.equal(language.image_rows, rows)
    assert [name for name, p in language.named_parameters() if p.requires_grad] == ["image_rows"]


def test_a_prompt_that_is_too_short_is_quoted_with_both_numbers(world: World) -> None:
    language = world.language(text_rows=3)
    length = len(language.tokenizer("a").input_ids)
    assert length == 1
    with pytest.raises(ValueError, match="the prompt 'a' has 1 tokens, fewer than the 3 text rows"):
        language([SHORT, "a"])


def test_a_prompt_that_is_longer_than_the_model_takes_is_quoted_with_the_numbers(language: LanguageModel) -> None:
    prompt = "red circle " * 600
    length = len(language.tokenizer(prompt).input_ids)
    assert length > 512
    with pytest.raises(
        ValueError, match=rf"'red circle .* has {length} tokens and 2 image tokens .* than the 512 that"
    ):
        language([SHORT, prompt])


def test_a_saved_model_reads_the_same(world: World, tmp_path: Path) -> None:
    language = world.language()
    language.model.save_pretrained(tmp_path)
    language.tokenizer.save_pretrained(tmp_path)
    model, tokenizer = load_language_model(tmp_path)
    loaded = LanguageModel(model, tokenizer, image_tokens=2, text_rows=4, generator=torch.Generator().manual_seed(0))
    for original, reloaded in zip(language([SHORT, LONG]), loaded([SHORT, LONG]), strict=True):
        assert torch.equal(original, reloaded)
