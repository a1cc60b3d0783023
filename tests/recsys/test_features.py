import logging

import numpy as np
import pytest

from recsys.catalog import Catalog, Item
from recsys.features import FeatureTable, item_features, text_features

VALUES = np.array([[1, 2], [0, 0], [3, 4]], np.float32)


def test_rows_follow_the_tokens_and_missing_items_are_holes():
    """b is a row of zeros, [PAD] and e have none: all three are holes."""
    values, present = FeatureTable(("a", "b", "c"), VALUES).align(["[PAD]", "c", "e", "b", "a"])
    assert values.tolist() == [[0, 0], [3, 4], [0, 0], [0, 0], [1, 2]]
    assert values.dtype == np.float32
    assert present.tolist() == [False, True, False, False, True]


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


def test_a_missing_row_is_a_hole_or_an_error(tmp_path):
    """b is a row of zeros, d has none; padding, the first token, is never missing."""
    FeatureTable(("a", "b", "c"), VALUES).write(tmp_path / "t.safetensors")
    tokens = ["[PAD]", "a", "b", "c", "d"]
    values, present = item_features("image", tmp_path / "t.safetensors", tokens)
    assert present.tolist() == [False, True, False, True, False]
    assert values[3].tolist() == [3, 4]
    with pytest.raises(ValueError, match=r"^2 of 4 items have no image features in .*t\.safetensors: 'b', 'd'; add"):
        item_features("image", tmp_path / "t.safetensors", tokens, "error")
    assert item_features("image", tmp_path / "t.safetensors", ["[PAD]", "c", "a"], "error")[1].tolist() == [
        False,
        True,
        True,
    ]
    with pytest.raises(ValueError, match="none of the 2 items has image features"):
        item_features("image", tmp_path / "t.safetensors", ["[PAD]", "x", "b"])


def test_rows_of_unknown_items_are_counted_and_named(tmp_path, caplog):
    """c is known; a row of seven others is left out, and the first five are named."""
    others = tuple("ABCDEFG")
    FeatureTable(("c", *others), np.ones((8, 2), np.float32)).write(tmp_path / "t.safetensors")
    with caplog.at_level(logging.INFO):
        values, present = item_features("image", tmp_path / "t.safetensors", ["[PAD]", "b", "c"])
    assert values.tolist() == [[0, 0], [0, 0], [1, 1]]
    assert present.tolist() == [False, False, True]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            f"7 of the 8 rows of image features in {tmp_path / 't.safetensors'} belong to no item of the "
            "catalogue and are left out: 'A', 'B', 'C', 'D', 'E', ...",
        )
    ]
    caplog.clear()
    item_features("image", tmp_path / "t.safetensors", ["[PAD]", "c", *others])
    assert not caplog.records


ITEMS = Catalog(
    [
        *(Item(f"w{n}", "Western", ("horse", "desert")) for n in range(3)),
        *(Item(f"s{n}", "Space", ("rocket", "star")) for n in range(3)),
        Item("mute"),
        Item("only stop words", "The Of And"),
    ]
)


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


def test_permuted_rows_go_to_other_items_and_none_is_lost() -> None:
    table = FeatureTable(tuple("abcdefgh"), np.arange(8, dtype=np.float32)[:, None])
    permuted = table.permuted(3)
    assert permuted.ids == table.ids
    assert sorted(permuted.values[:, 0]) == list(range(8))
    assert not np.array_equal(permuted.values, table.values)
    np.testing.assert_array_equal(permuted.values, table.permuted(3).values)


def test_permuting_leaves_holes_where_they_are() -> None:
    values = np.arange(8, dtype=np.float32)[:, None]  # the first row is zeros
    permuted = FeatureTable(tuple("abcdefgh"), values).permuted(3).values
    assert permuted[0] == 0
    assert sorted(permuted[1:, 0]) == list(range(1, 8))
