from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recsys.catalog import Catalog
from recsys.data import mmrec
from recsys.features import FeatureTable
from recsys.recbole.dataset import Dataset
from recsys.recbole.models import full_scores
from recsys.recbole.training import train_ranker

# User 0's validation item is later than the test item, 2 has one interaction, 3 none in training; item 4 is nobody's.
ROWS = [
    (0, 2, 0, 10),
    (0, 0, 0, 20),
    (0, 1, 2, 30),
    (0, 3, 1, 40),
    (1, 3, 0, 5),
    (1, 1, 0, 4),
    (1, 2, 1, 6),
    (2, 0, 0, 1),
    (3, 1, 2, 9),
]
IMAGE = np.arange(15, dtype=np.float64).reshape(5, 3) + 1
TEXT = np.eye(5, 2, dtype=np.float32)


def raw(folder: Path, *, full: bool = True, image: np.ndarray = IMAGE, text: np.ndarray = TEXT) -> Path:
    folder.mkdir()
    frame = pd.DataFrame(ROWS, columns=pd.Index(["userID", "itemID", "x_label", "timestamp"])).assign(rating=3.5)
    columns = ["userID", "itemID", "rating", "timestamp", "x_label"] if full else ["x_label", "itemID", "userID"]
    frame.to_csv(folder / "baby.inter", sep="\t", index=False, columns=columns)
    np.save(folder / "image_feat.npy", image)
    np.save(folder / "text_feat.npy", text)
    return folder


def loaded(folder: Path, **changes) -> Dataset:
    config = {"data_path": str(folder), "dataset": "baby", "eval_args": {"split": {"LABEL": "x_label"}}}
    return Dataset.load(config | changes)


def clicks(dataset: Dataset, part: str) -> list[tuple[int, int]]:
    users, items = getattr(dataset.interactions, part)
    return [(int(dataset.user_tokens[u]), int(dataset.item_tokens[i])) for u, i in zip(users, items, strict=True)]


def test_the_given_split_is_honoured_and_nobody_left_out(tmp_path):
    summary = mmrec.prepare(raw(tmp_path / "raw"), tmp_path, "baby")
    assert (summary.users, summary.items, summary.interactions, summary.users_dropped) == (4, 5, 9, 0)
    dataset = loaded(tmp_path)
    for label, part in enumerate(("train", "valid", "test")):
        assert sorted(clicks(dataset, part)) == sorted((u, i) for u, i, x, _ in ROWS if x == label)
    assert (dataset.n_users, dataset.n_items) == (5, 6)  # item 4 is numbered too
    # Oldest first: user 1's click on 1 came before that on 3, although it stands below it in the file.
    assert [dataset.item_tokens[i] for i in dataset.history(dataset.user_id("1"))] == ["1", "3"]


def test_row_i_is_item_i(tmp_path):
    mmrec.prepare(raw(tmp_path / "raw"), tmp_path, "baby")
    image = FeatureTable.read(tmp_path / "baby" / "image.safetensors")
    assert image.ids == ("0", "1", "2", "3", "4")
    assert image.values.tolist() == IMAGE.tolist()
    assert FeatureTable.read(tmp_path / "baby" / "text.safetensors").values.tolist() == TEXT.tolist()
    catalog = Catalog.read(tmp_path / "baby" / "catalog.csv")
    assert catalog.ids == list(image.ids) == catalog.without_image == catalog.without_text


def test_without_times_the_order_of_lines_counts(tmp_path):
    mmrec.prepare(raw(tmp_path / "raw", full=False), tmp_path, "baby")
    dataset = loaded(tmp_path)
    assert [dataset.item_tokens[i] for i in dataset.history(dataset.user_id("1"))] == ["3", "1"]
    table = pd.read_csv(tmp_path / "baby" / "baby.inter", sep="\t")
    assert set(table["rating:float"]) == {1.0}


def test_a_ranker_is_trained_on_it(tmp_path):
    """Item 4, which nobody clicked, has both modalities and a finite score."""
    mmrec.prepare(raw(tmp_path / "raw", text=TEXT + 0.1), tmp_path, "baby")
    tables = {name: str(tmp_path / "baby" / f"{name}.safetensors") for name in ("image", "text")}
    config = {"data_path": str(tmp_path), "dataset": "baby", "eval_args": {"split": {"LABEL": "x_label"}}}
    config |= {"model": "MICRO", "features": tables, "knn_k": 2, "epochs": 2, "topk": [2], "valid_metric": "Recall@2"}
    trained = train_ranker({**config, "missing_features": "error"}, tmp_path / "run", progress=False)
    scores = full_scores(trained.ranker, torch.tensor([trained.dataset.user_id("0")]))
    assert scores[0, 1:].isfinite().all()
    assert trained.metrics("test").keys() == {"recall@2", "ndcg@2"}


def test_the_fingerprint_moves_with_each_file(tmp_path):
    source = raw(tmp_path / "raw")
    hashes = {mmrec.fingerprint(source)}
    for name in ("image_feat.npy", "text_feat.npy"):
        np.save(source / name, np.load(source / name) + 1)
        hashes.add(mmrec.fingerprint(source))
    with (source / "baby.inter").open("a") as file:
        file.write("3\t2\t1\t1\t0\n")
    assert len(hashes | {mmrec.fingerprint(source)}) == 4


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"image": IMAGE[:4]}, r"image_feat\.npy has 4 rows, .*text_feat\.npy has 5: every item has one"),
        (
            {"image": IMAGE[:3], "text": TEXT[:3]},
            r"baby\.inter have an item that is not in the catalogue of 3 items: '3' \(line 5",
        ),
        ({"image": np.where(IMAGE == 7, np.nan, IMAGE)}, r"image_feat\.npy: features of item '2' are not finite"),
        ({"text": TEXT[:, 0]}, r"text_feat\.npy holds no matrix of numbers but float32 of shape \(5,\)"),
    ],
)
def test_features_that_do_not_fit(tmp_path, tables, words):
    with pytest.raises(ValueError, match=words):
        mmrec.prepare(raw(tmp_path / "raw", **tables), tmp_path, "baby")
    assert not (tmp_path / "baby").exists()


def test_interactions_that_do_not_fit(tmp_path):
    source = raw(tmp_path / "raw")
    text = (source / "baby.inter").read_text()
    (source / "baby.inter").write_text(text.replace("\t1\n", "\t3\n", 1))
    with pytest.raises(ValueError, match=r"baby\.inter: interaction 4 is labelled 3, but must be labelled 0 \(train\)"):
        mmrec.prepare(source, tmp_path)
    (source / "baby.inter").write_text(text.replace("x_label", "split"))
    with pytest.raises(ValueError, match=r"baby\.inter has no column x_label; its columns are userID, itemID, rating"):
        mmrec.prepare(source, tmp_path)
    (source / "more.inter").write_text(text)
    with pytest.raises(FileNotFoundError, match=r"raw must hold one \.inter file, it holds 2"):
        mmrec.fingerprint(source)
    (source / "more.inter").unlink()
    for name in ("text_feat.npy", "image_feat.npy"):
        (source / name).unlink()
    words = r"no \*_feat\.npy in .*raw; the folder must hold the features of at least one modality, such as image_feat"
    with pytest.raises(FileNotFoundError, match=words):
        mmrec.prepare(source, tmp_path)


@pytest.mark.parametrize(("separator", "found"), [(",", "commas"), (";", "semicolons")])
def test_a_file_that_is_not_separated_by_tabs_is_said(tmp_path, separator, found):
    source = raw(tmp_path / "raw")
    file = source / "baby.inter"
    file.write_text(file.read_text().replace("\t", separator))
    words = rf"baby\.inter separates its columns by {found}, but they must be separated by tabs"
    with pytest.raises(ValueError, match=words):
        mmrec.prepare(source, tmp_path)


@pytest.mark.parametrize(
    "modalities", [("audio", "image", "text"), ("audio",), ("text",), ("image",), ("a-1", "video", "z_2")]
)
def test_any_number_of_modalities(tmp_path, modalities):
    """Their names follow from the files'; each has a row for every item."""
    source = raw(tmp_path / "raw")
    for name in ("image", "text"):
        (source / f"{name}_feat.npy").unlink()
    for width, name in enumerate(modalities, 2):
        np.save(source / f"{name}_feat.npy", np.ones((5, width)) * width)
    before = mmrec.fingerprint(source)
    mmrec.prepare(source, tmp_path, "baby")
    tables = {file.stem: FeatureTable.read(file) for file in (tmp_path / "baby").glob("*.safetensors")}
    assert {name: table.values.shape for name, table in tables.items()} == {
        name: (5, width) for width, name in enumerate(modalities, 2)
    }
    (source / f"{modalities[0]}_feat.npy").rename(source / "other_feat.npy")
    assert mmrec.fingerprint(source) != before


def test_a_name_that_cannot_be_a_modality(tmp_path):
    source = raw(tmp_path / "raw")
    np.save(source / "mean_feat.npy", IMAGE)
    with pytest.raises(ValueError, match=r"mean_feat\.npy is named after the modality 'mean', which must be a word"):
        mmrec.fingerprint(source)


def test_unknown_items_can_be_dropped(tmp_path):
    """Of item 3 and 4 there are no features; two interactions are with item 3."""
    source = raw(tmp_path / "raw", image=IMAGE[:3], text=TEXT[:3])
    summary = mmrec.prepare(source, tmp_path, "baby", unknown_items="drop")
    assert (summary.items, summary.interactions, summary.interactions_with_unknown_items_dropped) == (3, 7, 2)
