"""Commands on a trained generator: top-k lists for everybody before and after new pictures, pictures as files."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from film_world import HOLE, PEOPLE, config_file, film_folder
from ragar_rec import cli, pipeline
from ragar_rec.evaluation.requests import RequestFactory
from ragar_rec.experiment import Experiment


class Shop(NamedTuple):
    """A trained generator on two dozen films, and everybody's lists."""

    run: Experiment
    arguments: list[str]
    lists: pd.DataFrame
    said: str


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    home = tmp_path_factory.mktemp("shop")
    paths = {"config": config_file(home, evaluation__k=5), "data": film_folder(home / "raw"), "output": home / "output"}
    arguments = [f"--{name}={path}" for name, path in paths.items()]
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("builtins.print", lambda *parts, **_: said.extend(map(str, parts)))
        assert cli.main(["recommend", *arguments]) == 0
    run = Experiment.open(**paths, progress=False)  # pyright: ignore[reportArgumentType]
    file = paths["output"] / "recommendations.csv"
    return Shop(run, arguments, pd.read_csv(file, dtype={"user_id": str, "item_id": str}), "\n".join(said))


def listed(lists: pd.DataFrame, user: str, pictures: str) -> list[str]:
    own = lists[(lists["user_id"] == user) & (lists["pictures"] == pictures)]
    assert own["rank"].tolist() == list(range(1, len(own) + 1))
    return own["item_id"].tolist()


def known_items(run: Experiment, user: int) -> set[int]:
    parts = run.ranker.dataset.interactions
    return {int(item) for users, items in (parts.train, parts.valid) for item in items[users == user]}


def test_everybody_gets_two_lists_of_items_that_are_new_to_them(shop: Shop) -> None:
    """Each of 30 people knows 11 of 24 films before the test, and 13 are left for a list of five."""
    assert list(shop.lists.columns) == ["user_id", "rank", "item_id", "score", "pictures"]
    assert len(shop.lists) == PEOPLE * 2 * 5
    dataset = shop.run.ranker.dataset
    for user in dataset.user_tokens[1:]:
        known = {str(dataset.item_tokens[item]) for item in known_items(shop.run, dataset.user_id(user))}
        assert len(known) == 11
        for pictures in ("original", "generated"):
            assert not known & set(listed(shop.lists, user, pictures))


def test_the_lists_are_those_of_scores_worked_out_one_by_one(shop: Shop) -> None:
    """C = 3: the first three unknown films get the score of their generated picture, all others keep theirs."""
    run, ranker = shop.run, shop.run.ranker
    dataset, shards = ranker.dataset, run.new_candidate_pictures().shards
    request_for = RequestFactory(dataset, 0)
    moved = 0
    for user in range(1, dataset.n_users):
        scores = ranker.view.scores(torch.tensor([user]))[0].clone()
        scores[list(known_items(run, user))] = -torch.inf
        order = scores.argsort(descending=True).tolist()
        token = str(dataset.user_tokens[user])
        assert listed(shop.lists, token, "original") == dataset.item_tokens[order[:5]].tolist()
        for item in order[:3]:
            if dataset.item_tokens[item] == HOLE:
                continue
            with torch.no_grad():
                features = ranker.reward.features(shards.read([request_for((user, item))]))
                scores[item] = ranker.view.substitute(torch.tensor([user]), torch.tensor([item]), features)[0]
        again = scores.argsort(descending=True).tolist()[:5]
        assert listed(shop.lists, token, "generated") == dataset.item_tokens[again].tolist()
        moved += again != order[:5]
    assert f"With generated pictures {moved} of {PEOPLE} lists are another." in shop.said


def test_the_summary_states_coverage_and_popularity(shop: Shop) -> None:
    train = shop.run.ranker.dataset.interactions.train[1]
    tokens = shop.run.ranker.dataset.item_tokens
    for at, pictures in enumerate(("original", "generated")):
        own = shop.lists[shop.lists["pictures"] == pictures]
        counts = {str(token): int((train == item).sum()) for item, token in enumerate(tokens)}
        coverage, popularity = len(set(own["item_id"])) / 24, np.mean([counts[item] for item in own["item_id"]])
        rows = {line[:24].strip(): line[24:].split() for line in shop.said.splitlines()}
        assert float(rows["catalogue coverage"][at]) == pytest.approx(coverage, abs=5e-5)
        assert float(rows["mean popularity"][at]) == pytest.approx(popularity, abs=0.05)


def recommended(shop: Shop, *more: str) -> int:
    return cli.main(["recommend", *shop.arguments, *more])


def other_ranker(folder: Path, model: str) -> str:
    """An argument that names the same config for a ranker that has no neighbours to count."""
    tree = yaml.safe_load(config_file(folder, model=model).read_text())
    del tree["knn_k"], tree["embedding_size"]
    (folder / "other.yaml").write_text(yaml.safe_dump(tree))
    return f"--config={folder / 'other.yaml'}"


def test_some_people_get_shorter_lists_as_parquet_and_original_ones_by_any_ranker(shop: Shop, tmp_path: Path) -> None:
    users, lists = tmp_path / "users.csv", tmp_path / "new" / "lists.parquet"
    users.write_text("user_id\n7\n3\n7\n")
    assert (
        recommended(shop, f"--users={users}", "--k=2", "--original", f"--lists={lists}", other_ranker(tmp_path, "Pop"))
        == 0
    )
    table = pd.read_parquet(lists)
    assert set(table["user_id"]) == {"3", "7"}
    assert set(table["pictures"]) == {"original"}
    assert table["rank"].tolist() == [1, 2, 1, 2]
    dataset = shop.run.ranker.dataset
    counts = np.bincount(dataset.interactions.train[1], minlength=dataset.n_items).astype(float)
    counts[[0, *known_items(shop.run, dataset.user_id("3"))]] = -1
    first = dataset.item_id(listed(table, "3", "original")[0])
    assert counts[first] == counts.max()


def test_a_users_generated_list_does_not_depend_on_who_else_is_asked_for(shop: Shop, tmp_path: Path) -> None:
    users, lists = tmp_path / "users.csv", tmp_path / "lists.csv"
    users.write_text("user_id\n7\n")
    assert recommended(shop, f"--users={users}", f"--lists={lists}") == 0
    table = pd.read_csv(lists, dtype={"user_id": str, "item_id": str})
    pd.testing.assert_frame_equal(table, shop.lists[shop.lists["user_id"] == "7"].reset_index(drop=True), rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "more", "words"),
    [
        ("user_id\n3\nnobody\n", [], "users.csv, line 3: the prepared data set has no user 'nobody'"),
        ("user\n3\n", [], "users.csv has no column user_id"),
        ("user_id\n", [], "users.csv names no user"),
        ("user_id\n3\n", ["--lists=lists.xlsx"], "lists are written as .csv or .parquet, but the file is lists.xlsx"),
        ("user_id\n3\n", ["--k=25"], "lists of k = 25 were asked for, but there are 24 items"),
    ],
)
def test_what_cannot_be_recommended_is_said(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, more: Sequence[str], words: str
) -> None:
    (tmp_path / "users.csv").write_text(text)
    assert recommended(shop, f"--users={tmp_path / 'users.csv'}", *more) == 2
    assert words in capsys.readouterr().err


def test_a_ranker_that_reads_no_pictures_is_refused_before_anything_is_drawn(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recommended(shop, other_ranker(tmp_path, "LightGCN"), f"--output={tmp_path / 'new'}") == 2
    assert "model LightGCN scores without pictures" in capsys.readouterr().err
    assert not list((tmp_path / "new" / "store").glob("generator-*"))


def test_from_python_paths_are_texts_too(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("user_id\n3\n")
    file = pipeline.recommend(shop.run, users=str(tmp_path / "users.csv"), lists=str(tmp_path / "a.csv"), original=True)
    assert file == tmp_path / "a.csv"


def test_pictures_are_files_that_the_shards_agree_with(shop: Shop, tmp_path: Path) -> None:
    """Of two people's requests, and later of the protocols' pictures too: all by one generator, so all stay."""
    (tmp_path / "r.csv").write_text("user_id,item_id\n7,3\n8,3\n")
    assert cli.main(["augment", *shop.arguments, f"--requests={tmp_path / 'r.csv'}", "--images=png"]) == 0
    folder = shop.run.output / "pictures"
    table = pd.read_csv(folder / "files.csv", dtype=str)
    assert table[["user_id", "item_id", "file"]].to_numpy().tolist() == [["7", "3", "7/3.png"], ["8", "3", "8/3.png"]]
    assert pipeline.augment(shop.run, images="png") == folder / "files.csv"
    table = pd.read_csv(folder / "files.csv", dtype=str)
    shards = shop.run.drawn.shards
    assert len(table) >= len(shards)
    for user, item in (("7", "3"), tuple(table.iloc[0][["user_id", "item_id"]])):
        with Image.open(folder / user / f"{item}.png") as picture:
            assert picture.size == (32, 32)
            if any(json.loads(name)[:2] == [user, item] for name in shards.ids):
                assert picture.tobytes() == shards[user, item].tobytes()


def trained(tmp_path: Path, shop: Shop, **changes: object) -> tuple[Experiment, list[str]]:
    """A ranker trained on the shop's films with other settings, and the lines that were printed."""
    tree = yaml.safe_load(config_file(tmp_path).read_text()) | changes
    if changes.get("model"):
        del tree["knn_k"], tree["embedding_size"]
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(tree))
    run = Experiment.open(tmp_path / "other.yaml", [], shop.run.workspace.data, None, tmp_path / "out", progress=False)
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("builtins.print", lambda *parts: said.extend("\n".join(map(str, parts)).splitlines()))
        pipeline.train_ranker(run)
    return run, said


def test_train_ranker_compares_with_simple_rankers_on_the_test(tmp_path: Path, shop: Shop) -> None:
    """RecBole's evaluator gives the same means as the lines of the table."""
    run, said = trained(tmp_path, shop)
    assert said[0].startswith("MICRO on validation: recall@10 ")
    assert said[1] == f"on the test, {PEOPLE} people:"
    lines = {line.split()[0]: line.split() for line in said[3:7]}
    assert list(lines) == ["MICRO", "Pop", "ItemKNN", "EASE"]
    assert float(lines["MICRO"][1]) == pytest.approx(run.ranker.trained.metrics("test")["recall@10"], abs=5e-5)
    assert "the simple rankers" in said[7] or "with less to train" in said[7]
    assert len(run.store.ran) == len(set(run.store.ran)) + 2  # three baselines
    again, repeated = trained(tmp_path, shop)
    assert (again.store.ran, repeated) == ([], said)


@pytest.mark.parametrize("split", [{"COLD": 0.5}, {"RS": [0.8, 0, 0.2]}, {"RS": [0.8, 0.2, 0]}])
def test_train_ranker_works_for_every_split(tmp_path: Path, shop: Shop, split: dict[str, object]) -> None:
    evaluation = {"split": split, "order": "TO", "group_by": None if "COLD" in split else "user", "mode": "full"}
    _, said = trained(tmp_path, shop, eval_args=evaluation, topk=[3], valid_metric="Recall@3")
    if split == {"RS": [0.8, 0.2, 0]}:
        assert said[1:] == ["MICRO was not tested, as the split has no interaction for the test"]
    else:
        assert ("EASE" in said[-2]) != ("COLD" in split)
        assert ("are ranked among each other: by chance Recall@k is k / " in said[-1]) == ("COLD" in split)
    assert ("was not validated" in said[0]) == (split == {"RS": [0.8, 0, 0.2]})


def test_a_simple_ranker_is_not_compared_with_itself(tmp_path: Path, shop: Shop) -> None:
    _, said = trained(tmp_path, shop, model="Pop")
    assert [line.split()[0] for line in said[3:6]] == ["Pop", "ItemKNN", "EASE"]


def entries(output: Path) -> set[str]:
    return {folder.name for folder in (output / "store").iterdir() if not folder.name.startswith(".")}


def stages(names: set[str]) -> list[str]:
    return sorted(name.rpartition("-")[0] for name in names)


def test_the_store_knows_what_a_config_uses_and_removes_the_rest(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another learning rate makes another ranker, and with it another generator: those alone are not used."""
    shutil.copytree(shop.run.output / "store", tmp_path / "store")
    arguments = [*shop.arguments, f"--output={tmp_path}"]
    assert cli.main(["store", *arguments, "--prune"]) == 0  # what other tests have left
    before = entries(tmp_path)
    capsys.readouterr()
    assert cli.main(["store", *arguments]) == 0
    said = capsys.readouterr().out
    used = {line.split()[0] for line in said.splitlines() if line.endswith("yes")}
    assert {
        "data",
        "pictures",
        "features",
        "ranker",
        "encoder",
        "backbone",
        "language",
        "warm-start",
        "generator",
    } <= used
    assert len([line for line in said.splitlines() if line.endswith("yes")]) == len(before)
    for rate in (0.02, 0.01):
        assert cli.main(["train-ranker", *arguments, f"--learning_rate={rate}"]) == 0
    more = entries(tmp_path) - before
    assert stages(more) == ["baseline"] * 3 + ["ranker"] * 2  # the baselines are those of both
    (first,) = (folder for folder in (tmp_path / "store").glob("ranker-*") if '"learning_rate": 0.02' in text(folder))
    shutil.rmtree(first)
    more.remove(first.name)
    (tmp_path / "store" / "generator-0123456789abcdef.partial").mkdir()

    assert cli.main(["store", *arguments, "--prune", "--dry-run", "--learning_rate=0.01"]) == 0
    said = capsys.readouterr().out
    doomed = {line.split()[2].rstrip(":") for line in said.splitlines() if line.startswith("would remove ")}
    assert "generator-0123456789abcdef.partial" in doomed
    assert {"ranker", "generator", "list-images"} <= set(stages(doomed & before))
    assert not doomed & more
    assert entries(tmp_path) >= before | more

    other = yaml.safe_load(Path(shop.arguments[0].partition("=")[2]).read_text()) | {"learning_rate": 0.01}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    assert cli.main(["store", *arguments, "--prune", f"--keep={tmp_path / 'other.yaml'}"]) == 0
    assert "removed generator-0123456789abcdef.partial: 0 B" in capsys.readouterr().out
    assert entries(tmp_path) == before | more
    assert cli.main(["store", *arguments, "--prune"]) == 0
    assert entries(tmp_path) == before | {name for name in more if name.startswith("baseline")}


def text(folder: Path) -> str:
    return (folder / "manifest.json").read_text()


def test_the_store_is_not_pruned_where_the_data_are_missing(shop: Shop, tmp_path: Path) -> None:
    """Without its raw data nobody can tell what a config uses."""
    shutil.copytree(shop.run.output / "store", tmp_path / "store")
    before = entries(tmp_path)
    arguments = [*shop.arguments, f"--output={tmp_path}", f"--data={tmp_path / 'gone'}"]
    assert cli.main(["store", *arguments, "--prune"]) == 2
    assert entries(tmp_path) == before
    assert cli.main(["store", *shop.arguments, f"--output={tmp_path / 'new'}", "--prune"]) == 0  # an empty store
    assert not entries(tmp_path / "new")


def test_gains_are_planted_in_the_lists_of_the_run(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """C = 8 of 13 candidates, all 30 people, one held-out item each."""
    larger = ["--evaluation.candidates=8", "--evaluation.users=0", "--evaluation.protocols=[candidates]"]
    assert cli.main(["plant", *shop.arguments, *larger, "--sizes=0.01,9"]) == 0
    out = capsys.readouterr().out
    assert "A gain of NDCG@5 planted in your own lists would have been found:" in out
    assert "+900.0% cannot be: no order gains that" in out
    table = pd.read_csv(shop.run.output / "planted.csv")
    assert table["size"].tolist() == [0.01, 9.0]
    options = dict(argument.removeprefix("--").split("=", 1) for argument in shop.arguments)
    paths = {name: Path(path) for name, path in options.items()}
    run = Experiment.open(paths["config"], larger, paths["data"], None, paths["output"], progress=False)
    lists = run.results.reranked()
    setting = run.drawn.setting(run.ranker, 0)
    hits = [
        len(set(task.targets) & set(protocol.items(task))) for protocol in setting.protocols for task in setting.tasks
    ]
    assert lists.hits.tolist() == hits
    assert lists.held_out.tolist() == [1] * PEOPLE
    assert (np.sort(lists.after, axis=1) == np.arange(1, 9)).all()


@pytest.mark.parametrize("sizes", ["0", "-0.1", "x", "0.1,,0.2", "nan", "inf"])
def test_sizes_of_planted_gains_are_numbers_above_0(sizes: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["plant", f"--sizes={sizes}"])
    assert f"'{sizes}' is no list of numbers above 0, such as 0.02,0.05" in capsys.readouterr().err
