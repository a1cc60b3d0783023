import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from recsys.features import FeatureTable
from recsys.recbole import checkpoint
from recsys.recbole.keys import with_ranker
from recsys.recbole.trainer import Trainer
from recsys.recbole.training import load_ranker, train_ranker
from worlds import Checkerboard


def test_a_checkpoint_of_something_else_is_refused(micro_config: dict, world: Checkerboard, tmp_path: Path) -> None:
    config = {**micro_config, "epochs": 1}
    train_ranker(config, tmp_path / "run", progress=False)
    with pytest.raises(ValueError, match=r"another one; different: knn_k: 5 there, 6 here$"):
        load_ranker({**config, "knn_k": 6}, tmp_path / "run")
    with pytest.raises(ValueError, match="the interactions or the catalogue"):
        load_ranker({**config, "eval_args": {"split": {"RS": [0.5, 0.2, 0.3]}}}, tmp_path / "run")
    table = FeatureTable.read(world.image)
    changed = table.values.copy()
    changed[0, 0] += 1
    FeatureTable(table.ids, changed).write(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="different: the features image"):
        load_ranker({**config, "features": {"image": str(tmp_path / "other.safetensors")}}, tmp_path / "run")
    # The same content under another path is the same ranker.
    (tmp_path / "copy.safetensors").write_bytes(Path(world.image).read_bytes())
    load_ranker({**config, "features": {"image": str(tmp_path / "copy.safetensors")}}, tmp_path / "run")


def test_a_checkpoint_whose_features_belong_to_other_items_is_refused(
    micro_config: dict, world: Checkerboard, tmp_path: Path
) -> None:
    """The same matrix beside its tokens in another order."""
    table = FeatureTable.read(world.image)
    np.save(tmp_path / "image.npy", table.values)
    tokens = tmp_path / "image.ids.txt"
    tokens.write_text("\n".join(table.ids))
    config = {**micro_config, "epochs": 1, "features": {"image": str(tmp_path / "image.npy")}}
    train_ranker(config, tmp_path / "run", progress=False)
    load_ranker({**config, "missing_features": "hole"}, tmp_path / "run")
    tokens.write_text("\n".join(table.ids[::-1]))
    with pytest.raises(ValueError, match=r"different: the features image$"):
        load_ranker(config, tmp_path / "run")


def test_a_truncated_checkpoint(micro_config: dict, tmp_path: Path) -> None:
    config = {**micro_config, "epochs": 1}
    train_ranker(config, tmp_path, progress=False)
    weights = tmp_path / checkpoint.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"ranker\.safetensors cannot be read"):
        load_ranker(config, tmp_path)


@pytest.mark.parametrize("kept", [100, 0, None])
def test_a_truncated_or_missing_resume_file(
    micro_config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int | None
) -> None:
    """One sentence, whose advice works: without the folder the training begins anew."""
    config, folder = {**micro_config, "epochs": 2, "eval_step": 1}, tmp_path / "run"
    run_epoch = Trainer.run_epoch
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "run_epoch", lambda self, epoch: _stop() if epoch else run_epoch(self, epoch))
        train_ranker(config, folder, progress=False)
    file = checkpoint.resume_file(folder, 1)
    whole = file.read_bytes()
    file.unlink() if kept is None else file.write_bytes(whole[:kept])
    with pytest.raises(
        ValueError, match=rf"^{file} cannot be read \(.*\); delete the folder {folder} and train the ranker again$"
    ):
        train_ranker(config, folder, progress=False)
    shutil.rmtree(folder)
    assert len(train_ranker(config, folder, progress=False).history) == 2


def _stop() -> dict[str, float]:
    raise KeyboardInterrupt


def test_edited_code_makes_another_ranker(world: Checkerboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ranker of ours has no code in its identity."""
    file, folder = tmp_path / "shop_with_code.py", tmp_path / "ranker"
    file.write_text("from recsys.rankers.pop import Pop\n\n\nclass Own(Pop):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = with_ranker(world.config, "shop_with_code:Own")
    train_ranker(config, folder, progress=False)
    load_ranker(config, folder)
    file.write_text(file.read_text() + "# another text\n")
    with pytest.raises(ValueError, match="is another one; different: code: "):
        load_ranker(config, folder)
    library_ranker = train_ranker(with_ranker(world.config, "Pop"), tmp_path / "ours", progress=False)
    assert library_ranker.dataset.config.code is None
    assert "code" not in json.loads((tmp_path / "ours" / checkpoint.STATE).read_text())["identity"]["settings"]


def test_missing_features_are_named(micro_config: dict, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no feature file"):
        train_ranker({**micro_config, "features": {"image": str(tmp_path / "x")}}, tmp_path, progress=False)
