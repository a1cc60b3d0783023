import numpy as np
import pytest
from safetensors.numpy import save_file

from recsys.catalog import Catalog, Item
from recsys.features import FeatureTable, text_features

VALUES = np.array([[1, 2], [0, 0], [3, 4]], np.float32)


def test_rows_follow_the_tokens_and_what_there_is_not_is_absent():
    """b is a row of zeros, [PAD] and e have none: all three are holes."""
    values, there = FeatureTable(("a", "b", "c"), VALUES).align(["[PAD]", "c", "e", "b", "a"])
    assert values.tolist() == [[0, 0], [3, 4], [0, 0], [0, 0], [1, 2]]
    assert values.dtype == np.float32
    assert there.tolist() == [False, True, False, False, True]


def test_what_was_written_reads_back_equal(tmp_path):
    table = FeatureTable(("é", "b\n", "77"), VALUES)
    table.write(tmp_path / "image.safetensors")
    again = FeatureTable.read(tmp_path / "image.safetensors")
    assert again.ids == table.ids
    assert np.array_equal(again.values, VALUES)


@pytest.mark.parametrize(
    ("ids", "values", "words"),
    [
        (("a", "b"), VALUES, "2 items but 3 feature rows"),
        (("a", "b", "a"), VALUES, "twice"),
        (
            ("a", "b", "c"),
            np.array([[1, 2], [np.nan, 0], [np.inf, 1]], np.float32),
            r"item 'b' are not .* \(2 such items\)",
        ),
    ],
)
def test_a_table_that_would_mislead_is_refused(ids, values, words):
    with pytest.raises(ValueError, match=words):
        FeatureTable(ids, values)


def test_a_file_that_is_no_table_is_named(tmp_path):
    (tmp_path / "words.safetensors").write_text("no tensors here")
    save_file({"values": VALUES}, tmp_path / "nameless.safetensors")
    for name in ("words", "nameless"):
        with pytest.raises(ValueError, match=f"{name}.safetensors is no feature table"):
            FeatureTable.read(tmp_path / f"{name}.safetensors")
    with pytest.raises(FileNotFoundError, match="no feature table at"):
        FeatureTable.read(tmp_path / "gone.safetensors")


ITEMS = Catalog([
    *(Item(f"w{n}", "Western", ("horse", "desert")) for n in range(3)),
    *(Item(f"s{n}", "Space", ("rocket", "star")) for n in range(3)),
    Item("mute"),
    Item("only stop words", "The Of And"),
])  # fmt: skip


def test_text_features_have_norm_1_and_items_without_words_have_no_row():
    """Two kinds of items that share no word: cosine 1 within a kind, 0 between them."""
    table = text_features(ITEMS, 2, seed=0)
    assert table.ids == ("w0", "w1", "w2", "s0", "s1", "s2")
    assert np.linalg.norm(table.values, axis=1) == pytest.approx(np.ones(6), abs=1e-6)
    assert table.values @ table.values.T == pytest.approx(np.kron(np.eye(2), np.ones((3, 3))), abs=1e-5)


def test_text_features_are_the_same_again_and_never_wider_than_the_words_allow():
    table = text_features(ITEMS, 64, seed=3)
    assert np.array_equal(table.values, text_features(ITEMS, 64, seed=3).values)
    assert table.values.shape == (6, 5)  # 7 items with words, 6 words: at most 5 components


def test_text_features_need_words():
    with pytest.raises(ValueError, match="no item of the catalogue has a title, tags or a description"):
        text_features(Catalog([Item("1"), Item("2")]), 2, seed=0)
