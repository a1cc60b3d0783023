import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from experiments import retrieval
from film_world import TINY, film_folder, open_run
from recsys.features import FeatureTable


def test_all_ways_of_a_tiny_world(tmp_path: Path) -> None:
    """One person's score is that of the mean, worked out by hand, of the features that were retrieved for her."""
    config, data, output = tmp_path / "tiny.yaml", film_folder(tmp_path / "raw"), tmp_path / "out"
    config.write_text(yaml.safe_dump(TINY))
    changes = ["--generator.history_length=20"]
    retrieval.main(["--config", str(config), "--data", str(data), "--output", str(output), *changes])
    found = json.loads((output / "retrieval.json").read_text())["settings"]
    assert tuple(found) == tuple(retrieval.SETTINGS)
    assert {part: it["own picture"]["n"] for part, it in found["minmax"].items()} == {"choosing": 24, "test": 6}
    assert found["whole history, equal weights"]["test"]["largest weight"] < found["minmax"]["test"]["largest weight"]

    run = open_run(config, data, output)
    part, ragar = retrieval.Part(run, run.system.people.test), run.components.new_generator(run.config.generator)
    originals = part.view.scores(part.users)[torch.arange(6), part.items] / part.view.spread(part.users)
    assert part.reference == pytest.approx(originals.numpy(), abs=1e-5)
    ids, weights, _ = ragar.retrieve(part.own[:1])
    rows, present = FeatureTable.read(run.features.folder / "image.safetensors").align(
        [run.pictures.items[row].id for row in ids[0]]
    )
    kept = weights[0].numpy() * present
    features, _ = part.retrieved(ragar, part.own)
    assert features[0].numpy() == pytest.approx(kept @ rows / kept.sum(), abs=1e-5)

    # Six items before each reference are read: of the ranks 6 to 10 there is one, of 7 to 12 none.
    ragar.config = replace(ragar.config, k=5, history="next_k")
    (own, _, _), (others, _, _) = ragar.retrieve(part.own), ragar.retrieve(part.others)
    part.present[own[0, 0]] = False
    alone = part.present[own[:, 0]] & part.present[others[:, 0]]
    row = part.row(ragar)
    assert row["own picture"]["n"] == row["stranger"]["n"] == int(alone.sum()) < 6
    assert (row["people"], row["largest weight"]) == (6, 1)
    scores = part.scores(part.features[own[alone, 0]], alone)
    assert row["own picture"]["value"] == pytest.approx((scores - part.reference[alone.numpy()]).mean(), abs=1e-5)
    ragar.config = replace(ragar.config, k=6)
    assert part.row(ragar) == {}
    table = retrieval.markdown({"some": {"choosing": row, "test": {}}})
    assert f"], {int(alone.sum())} of 6 people | nobody | nobody |" in table
    full = retrieval.markdown({"all": {"choosing": {**row, "people": row["own picture"]["n"]}}})
    assert "people" not in full
