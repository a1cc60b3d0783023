"""BLIP-2: a tiny one, overfitted to captions of a red, a blue and a black picture."""

import shutil
from pathlib import Path

import pytest
import torch

from blip_world import save_captioner
from generation.gallery import caption
from generation.words.blip import Blip2Captioner
from generation_world import Shape

CAPTIONS = {"red": "a red poster", "blue": "blue sea, blue sky", "black": ""}
PICTURES = torch.zeros(3, 3, 48, 32, dtype=torch.uint8)
PICTURES[0, 0] = PICTURES[1, 2] = 255
ITEMS = [Shape(name, tags=("film",), image=Path(f"{name}.png")) for name in CAPTIONS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_captioner(tmp_path_factory.mktemp("blip"), PICTURES, list(CAPTIONS.values()))


@pytest.mark.parametrize("batch_size", [1, 2])
def test_captions_are_those_that_were_learned(folder: Path, batch_size: int) -> None:
    captioner = Blip2Captioner.from_pretrained(folder, batch_size=batch_size)
    order = [1, 0, 2, 0]
    captions = captioner([ITEMS[i] for i in order], PICTURES[order])
    assert captions == [list(CAPTIONS.values())[i] for i in order]
    assert not captioner.model.training
    assert captioner([], PICTURES[:0]) == []


def test_a_picture_with_an_empty_caption_is_described_by_the_items_tags(folder: Path) -> None:
    captioner = Blip2Captioner.from_pretrained(folder)
    hole = Shape("hole", "Lost (1999)", ("film",))
    captions = caption([*ITEMS, hole], torch.cat([PICTURES, PICTURES[2:]]), captioner)
    assert captions == ("a red poster", "blue sea, blue sky", "film", "film, 1990s")


def test_a_model_that_gives_empty_captions_alone_is_refused(folder: Path) -> None:
    captioner = Blip2Captioner.from_pretrained(folder)
    with pytest.raises(ValueError, match=rf"{folder.name} said nothing about any of 1 pictures"):
        captioner(ITEMS[2:], PICTURES[2:])


def test_missing_weights_say_how_to_get_them(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no BLIP-2 captioner at .*none .*hf download Salesforce/blip2-opt-2"):
        Blip2Captioner.from_pretrained(tmp_path / "none")
    shutil.copytree(folder, tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no \*\.safetensors in .*broken: "):
        Blip2Captioner.from_pretrained(tmp_path / "broken")
