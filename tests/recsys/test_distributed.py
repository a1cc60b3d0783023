"""Two processes train as one: the algebra of the shares, and a real `accelerate launch` on this CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from recsys import distributed
from recsys.distributed import run_on_first_process
from recsys.recbole.training import train_ranker
from worlds import Checkerboard

ROOT = Path(__file__).parents[2]


def test_alone_nothing_is_shared() -> None:
    assert (distributed.world_size(), distributed.rank()) == (1, 0)
    assert distributed.local_rows([4, 5, 6]) == ([4, 5, 6], 1.0)
    assert distributed.broadcast("order") == "order"
    kept = torch.tensor([1.0, 2.0])
    distributed.all_reduce([kept])
    assert kept.tolist() == [1, 2]
    assert distributed.call_on_all(max, 1, 2) == 2
    distributed.barrier()
    ran = []
    run_on_first_process(lambda: ran.append("once"))
    assert ran == ["once"]


def test_weighted_shares_add_up_to_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven rows among 3: the means of (0 3 6), (1 4), (2 5) at weights 3/7, 2/7, 2/7 make the mean 3 of 0..6. Of a
    single row, the second and the third process take a copy at weight 0.
    """
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    shares = []
    for number in range(3):
        monkeypatch.setattr(distributed, "rank", lambda number=number: number)
        shares.append((distributed.local_rows(list(range(7))), distributed.local_rows([8])))
    assert [rows for (rows, _), _ in shares] == [[0, 3, 6], [1, 4], [2, 5]]
    assert sum(weight * sum(rows) / len(rows) for (rows, weight), _ in shares) == pytest.approx(3)
    assert [small for _, small in shares] == [([8], 1), ([8], 0), ([8], 0)]


PROGRAM = """
import json, sys
from pathlib import Path
from recsys import distributed
from recsys.distributed import run_on_first_process
from recsys.recbole.training import train_ranker

def main():
    home = Path(sys.argv[1])
    for name, config in json.loads((home / "configs.json").read_text()).items():
        train_ranker(config, home / "two" / name, progress=False)
    print("trained by", distributed.world_size())

run_on_first_process(main)
"""


@pytest.mark.slow
def test_two_processes_end_where_one_does(micro_config: dict, world: Checkerboard, tmp_path: Path) -> None:
    """Weights after 3 epochs within 1e-5 and the same metrics; only the first process prints."""
    clicks = {key: value for key, value in world.config.items() if key not in ("embedding_size", "learning_rate")}
    configs = {
        "micro": {**micro_config, "anchors": 32, "lr_decay": 0.9},
        "part": {**micro_config, "anchors": 32, "negatives": 30, "fanout": "all"},
        "lightgcn": {**world.config, "model": "LightGCN", "fanout": "all"},
        "pop": {**clicks, "model": "Pop"},
    }
    configs = {name: {**config, "epochs": 3, "eval_step": 1} for name, config in configs.items()}
    (tmp_path / "configs.json").write_text(json.dumps(configs))
    (tmp_path / "program.py").write_text(PROGRAM)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    done = subprocess.run(
        [*launch, "-m", "program", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["trained by 2"]
    for name, config in configs.items():
        alone = train_ranker(config, tmp_path / "one" / name, progress=False)
        one, two = (load_file(tmp_path / number / name / "ranker.safetensors") for number in ("one", "two"))
        assert one.keys() == two.keys()
        for key in one:
            torch.testing.assert_close(two[key], one[key], atol=1e-5, rtol=1e-5, msg=lambda m, k=key: f"{k}: {m}")
        history = json.loads((tmp_path / "two" / name / "ranker.json").read_text())["history"]
        for row, expected in zip(history, alone.history, strict=True):
            assert row | {"seconds": 0} == pytest.approx(expected | {"seconds": 0}, rel=1e-4)
