"""The synthetic data set is what was asked for, and the same every time."""

from pathlib import Path

import numpy as np
import pandas as pd

from ragar_rec.studies.synthetic import synthetic
from recsys.features import FeatureTable


def test_items_have_their_interactions_and_features(tmp_path: Path) -> None:
    keys = synthetic(tmp_path / "a", 100, width=6, n_users=40, per_item=5)
    folder = tmp_path / "a" / keys["dataset"]
    frame = pd.read_csv(folder / f"{keys['dataset']}.inter", sep="\t")
    assert frame["item_id:token"].nunique() == 100
    assert frame["user_id:token"].between(0, 39).all()
    assert not frame.duplicated(["user_id:token", "item_id:token"]).any()
    assert 450 < len(frame) <= 500  # five of forty users: few come twice
    image, text = (FeatureTable.read(Path(keys["features"][name])) for name in ("image", "text"))
    assert (image.values.shape, text.values.shape) == ((100, 6), (100, 128))
    again = synthetic(tmp_path / "b", 100, width=6, n_users=40, per_item=5)
    for file in sorted(folder.iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / again["dataset"] / file.name).read_bytes()


def test_items_of_one_cluster_are_alike(tmp_path: Path) -> None:
    """Two clusters of 128 dimensions: centres and noise of variance 1 each give cosines of 1/2 within and 0 between."""
    keys = synthetic(tmp_path, 100, width=16)
    values = FeatureTable.read(Path(keys["features"]["text"])).values
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[np.triu_indices(100, 1)]
    assert ((cosines > 0.2) & (cosines < 0.8)).mean() > 0.4
    assert (np.abs(cosines) < 0.4).mean() > 0.4
