"""An instruction LLM: greedy answers, the same whatever else is in the batch."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from chat_world import chat, save_chat_model
from generation.words.instruction import Answer, InstructionModel

ANSWERS = {
    "a red circle": "1. red\n2. circle",
    "a blue bar on white, painted in 1950": "Keywords: blue, bar",
    "nothing": "",
    "列车": "关键词: 列车",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_chat_model(tmp_path_factory.mktemp("chat"), ANSWERS)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_answers_come_back_in_order_whatever_the_batch(folder: Path, batch_size: int) -> None:
    model = InstructionModel.from_pretrained(folder, batch_size=batch_size)
    before = torch.random.get_rng_state()
    for _ in range(2):  # the folder asks for sampling at temperature 5: greedy all the same
        assert model.answer(list(ANSWERS)) == [Answer(text, True) for text in ANSWERS.values()]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not model.model.training
    assert model.answer([]) == []


def test_the_prompt_goes_through_the_chat_template(folder: Path) -> None:
    model = InstructionModel.from_pretrained(folder)
    assert model.tokenizer.decode(model._encode("a red circle")) == chat("a red circle")


def test_an_answer_that_is_stopped_says_so(folder: Path) -> None:
    model = InstructionModel.from_pretrained(folder, max_new_tokens=2)
    (answer,) = model.answer(["a red circle"])
    assert not answer.finished
    assert ANSWERS["a red circle"].startswith(answer.text)


def test_a_tokenizer_without_a_chat_template_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "plain")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = None
    (tmp_path / "plain" / "chat_template.jinja").unlink()
    tokenizer.save_pretrained(tmp_path / "plain")
    with pytest.raises(ValueError, match=r"plain has no chat template: name an instruction LLM such as Qwen/"):
        InstructionModel.from_pretrained(tmp_path / "plain")


def test_a_prompt_that_is_too_long_is_quoted_with_the_numbers(folder: Path) -> None:
    model = InstructionModel.from_pretrained(folder)
    words = "circle " * 480
    length = len(model._encode(words))
    with pytest.raises(ValueError, match=rf"'circle circle .* has {length} tokens .* up to 64, more than the 512 that"):
        model.answer(["a red circle", words])


@pytest.mark.parametrize("source", ["nowhere/at-all", "/nowhere/at/all", "none"])
def test_a_missing_model_says_how_to_get_one(source: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"no instruction LLM at {source} .*hf download Qwen/Qwen2.5-0.5B"):
        InstructionModel.from_pretrained(source)


def test_a_folder_without_weights_or_with_pickled_ones_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no \*\.safetensors in .*broken: .*download the whole folder again"):
        InstructionModel.from_pretrained(tmp_path / "broken")
    torch.save({}, tmp_path / "broken" / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is a pickle, which can run code .*as safetensors"):
        InstructionModel.from_pretrained(tmp_path / "broken")


@pytest.mark.parametrize(("part", "content"), [("config.json", "{}"), ("model.safetensors", "half")])
def test_a_folder_that_does_not_read_is_one_sentence(folder: Path, tmp_path: Path, part: str, content: str) -> None:
    shutil.copytree(folder, tmp_path / "broken")
    (tmp_path / "broken" / part).write_text(content)
    with pytest.raises(ValueError, match=r"broken does not read as instruction LLM \(.*: copy or download it again"):
        InstructionModel.from_pretrained(tmp_path / "broken")


def test_a_folder_without_its_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    """transformers would build one that knows no word and say nothing."""
    shutil.copytree(folder, tmp_path / "broken")
    (tmp_path / "broken" / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no tokenizer\.json in .*broken: "):
        InstructionModel.from_pretrained(tmp_path / "broken")
