import numpy as np
import pytest
from safetensors.numpy import save_file

from recsys.feature_files import feature_files
from recsys.features import FeatureTable

VALUES = np.array([[1, 2], [0, 0], [3, 4]], np.float32)


def test_a_file_that_is_no_table_is_named(tmp_path):
    (tmp_path / "words.safetensors").write_text("no tensors here")
    save_file({"values": VALUES}, tmp_path / "nameless.safetensors")
    for name in ("words", "nameless"):
        with pytest.raises(ValueError, match=f"{name}.safetensors is no feature table"):
            FeatureTable.read(tmp_path / f"{name}.safetensors")
    with pytest.raises(FileNotFoundError, match="no feature table at"):
        FeatureTable.read(tmp_path / "gone.safetensors")


@pytest.mark.parametrize(("suffix", "text"), [("txt", "b\n7\na\n"), ("csv", "item_id\nb\n7\na"), ("csv", "b\n7\na\n")])
def test_a_matrix_beside_its_tokens(tmp_path, suffix, text):
    """A text file has no heading: the one token too many is counted."""
    np.save(tmp_path / "image.npy", VALUES.astype(np.float64))
    (tmp_path / f"image.ids.{suffix}").write_text(text)
    table = FeatureTable.read(tmp_path / "image.npy")
    assert table.ids == ("b", "7", "a")
    assert table.values.dtype == np.float32
    assert table.values.tolist() == VALUES.tolist()
    assert [file.name for file in feature_files(tmp_path / "image.npy")] == ["image.npy", f"image.ids.{suffix}"]


def test_a_compressed_table_with_numbers_as_ids(tmp_path):
    np.savez(tmp_path / "image.npz", ids=np.array([3, 11, 2]), values=VALUES.astype(np.int16))
    table = FeatureTable.read(tmp_path / "image.npz")
    assert table.ids == ("3", "11", "2")
    assert table.values.tolist() == VALUES.tolist()


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("three.npy", VALUES, r"three\.ids\.txt names 2 items, but .*three\.npy has 3 feature rows"),
        ("line.npy", VALUES[:2, 0], r"line\.npy holds no matrix of numbers but float32 of shape \(2,\)"),
        ("point.npy", VALUES[0, 0], r"point\.npy holds no matrix of numbers but float32 of shape \(\)"),
        ("words.npy", np.array([["x"], ["y"]]), r"words\.npy holds no matrix of numbers but <U1"),
        ("objects.npy", np.array([{}, {}]), r"objects\.npy is no array that numpy\.save wrote"),
        ("huge.npy", np.array([[1.0], [1e300]]), r"huge\.npy: features of item 'b' are not finite"),
        ("nan.npy", np.array([[np.nan], [1]]), r"nan\.npy: features of item 'a' are not finite numbers \(1 such"),
    ],
)
def test_an_array_that_is_no_table_of_these_items(tmp_path, name, array, words):
    np.save(tmp_path / name, array)
    (tmp_path / name).with_suffix(".ids.txt").write_text("a\nb\n")
    with pytest.raises(ValueError, match=words):
        FeatureTable.read(tmp_path / name)


def test_damaged_arrays_and_absent_tokens(tmp_path):
    np.save(tmp_path / "image.npy", VALUES)
    with pytest.raises(FileNotFoundError, match=r"image\.npy says nothing of whose rows .* into .*image\.ids\.txt"):
        FeatureTable.read(tmp_path / "image.npy")
    (tmp_path / "image.ids.txt").write_text("a\nb\nc\n")
    (tmp_path / "image.npy").write_bytes((tmp_path / "image.npy").read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"image\.npy is no array that numpy\.save wrote, or a damaged one"):
        FeatureTable.read(tmp_path / "image.npy")
    np.savez(tmp_path / "image.npz", values=VALUES)
    with pytest.raises(ValueError, match=r"image\.npz is no feature table \(.npz with the arrays ids and values\)"):
        FeatureTable.read(tmp_path / "image.npz")
