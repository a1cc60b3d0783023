"""Folders of weights: errors name the missing file, or the pickle that is there in its place."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from generation.checkpoint import read_metadata, reading_weights, require


def test_weights_and_pickles_are_found_in_folders_below(tmp_path: Path) -> None:
    (tmp_path / "0_Transformer").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no \*\*/\*\.safetensors in .*: a part is missing, copy or download"):
        require(tmp_path, "**/*.safetensors")
    (tmp_path / "0_Transformer" / "pytorch_model.bin").touch()
    with pytest.raises(ValueError, match=r"0_Transformer/pytorch_model\.bin is a pickle"):
        require(tmp_path, "**/*.safetensors")
    (tmp_path / "0_Transformer" / "model.safetensors").touch()
    require(tmp_path, "**/*.safetensors")


def test_a_folder_is_checked_before_it_is_read_and_a_hub_name_is_not(tmp_path: Path) -> None:
    checked = []
    with reading_weights("model", tmp_path, example="org/model", check=checked.append):
        assert checked == [tmp_path]
    with reading_weights("model", "org/other", example="org/model", check=checked.append):
        assert checked == [tmp_path]


def test_the_error_for_a_missing_folder_says_where_to_get_one() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no model at org/other \(no such folder, .*: gone\)\. .*hf download org/m "
    ):
        with reading_weights("model", "org/other", example="org/m"):
            raise OSError("gone\nand more")


def test_metadata_of_a_header_with_and_without_any(tmp_path: Path) -> None:
    for name, notes in (("with", {"rank": "3"}), ("without", None)):
        save_file({"x": torch.zeros(1)}, tmp_path / name, notes)
        assert read_metadata(tmp_path / name) == (notes or {})
