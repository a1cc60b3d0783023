"""A shop's own files from the command line: every item, person and click arrives, or the run says what is wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from film_world import config_file, open_run
from ragar_rec import cli
from ragar_rec.experiment import Experiment
from recsys.recbole import atomic_files

ITEMS = [f"i{n:02}" for n in range(8)]


class Shop(NamedTuple):
    """A folder of files and a config that reads them."""

    data: Path
    config: Path
    output: Path

    def run(self, step: str, *more: str) -> int:
        return cli.main([step, f"--config={self.config}", f"--data={self.data}", f"--output={self.output}", *more])

    def refused(self, step: str, capsys: pytest.CaptureFixture[str], *more: str) -> str:
        assert self.run(step, *more) == 2
        return capsys.readouterr().err.splitlines()[-1]


def shop(folder: Path, users: Sequence[str] = ("u0", "u1", "u2", "u3"), items: Sequence[str] = ITEMS) -> Shop:
    """Every user clicks six of the eight items; each item has a picture of its own grey."""
    data = folder / "data"
    (data / "img").mkdir(parents=True)
    rows = ["item_id,title,tags,description,image"]
    for n, item in enumerate(items):
        Image.new("RGB", (32, 48), (20 * n, 20 * n, 20 * n)).save(data / "img" / f"{n}.png")
        rows.append(f"{item},Title {n},tag{n % 3},words,img/{n}.png")
    (data / "catalog.csv").write_text("\n".join(rows) + "\n")
    rng, clicks = np.random.default_rng(0), ["user_id,item_id,timestamp"]
    for user in users:
        clicks += [f"{user},{items[item]},{time}" for time, item in enumerate(rng.permutation(len(items))[:6])]
    (data / "interactions.csv").write_text("\n".join(clicks) + "\n")
    config = config_file(
        folder,
        dataset="shop",
        catalog__preparer="own",
        features__image_encoder="hog",
        features__image_height=16,
        features__image_width=16,
        topk=[2],
        valid_metric="Recall@2",
        epochs=1,
    )
    return Shop(data, config, folder / "output")


def test_words_for_nothing_are_users_and_items_of_the_ranker(tmp_path, capsys):
    words = ["NA", "null", "None", "nan"]
    world = shop(tmp_path, words, [*words, *ITEMS[:4]])
    assert world.run("train-ranker") == 0
    assert "MICRO on validation: recall@2" in capsys.readouterr().out
    dataset = open_run(world.config, world.data, world.output).ranker.dataset
    assert set(dataset.user_tokens) == {"[PAD]", *words}
    assert set(dataset.item_tokens) == {"[PAD]", *words, *ITEMS[:4]}


def test_images_that_cannot_be_found_are_named_with_the_reason(tmp_path, capsys):
    """Seven: the first five in the catalogue's order; one with backslashes is found."""
    world = shop(tmp_path)
    file = world.data / "catalog.csv"
    text = file.read_text().replace("img/0.png", r"img\0.png").replace("img/1.png", "https://shop.example/1.png")
    for n in range(2, 8):
        text = text.replace(f"img/{n}.png", f"gone/{n}.png")
    file.write_text(text)
    assert world.run("prepare") == 0
    out = capsys.readouterr().out
    assert "4 users, 8 items, 24 interactions" in out
    assert "7 items without image" in out
    assert "The images of 7 of 8 items cannot be found:\n  item 'i01': https://shop.example/1.png is a URL" in out
    assert f"  item 'i05': there is no file {world.data / 'gone/5.png'}\n  and 2 more, in " in out
    assert "i06" not in out


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_pictures_are_fitted_into_a_frame_of_the_median_proportions(tmp_path, capsys, fit):
    """Six squares and two posters of 2 : 3, one of them striped: a crop to the square frame would cut a third of it."""
    world = shop(tmp_path)
    for n in range(6):
        Image.new("RGB", (50, 50), (20 * n, 0, 0)).save(world.data / "img" / f"{n}.png")
    stripes = Image.new("RGB", (32, 48), "white")
    stripes.paste((0, 0, 0), (8, 0, 24, 48))
    stripes.save(world.data / "img" / "7.png")
    auto = ["--backbone.image_height=0", "--backbone.image_width=0", f"--pictures.fit={fit}"]
    assert world.run("prepare", *auto) == 0
    out = capsys.readouterr().out
    assert "frame 80 x 80 (height x width; the median picture is 1.00 times as wide as high): pictures are " in out
    cut = "2 of 8 pictures by more than 5% (median 0.0%, worst 33%)"
    assert f"{'padded; pictures.fit: crop would cut' if fit == 'pad' else 'cropped, which cuts'} {cut}" in out
    run = Experiment.open(world.config, auto, world.data, output=world.output, progress=False)
    assert run.pictures.size == (80, 80)
    assert (run.new_features("hog").image.height, run.pictures.fit) == (16, fit)  # type: ignore[union-attr]
    striped = run.pictures.images[7, 0, 40]  # a row across: 53 of 80 pixels are the poster, or all of them
    assert int((striped < 128).sum()) == (27 if fit == "pad" else 40)
    assert striped[[0, -1]].tolist() == [255, 255]


def test_a_reserved_id_stops_the_run(tmp_path, capsys):
    world = shop(tmp_path, ["u0", "[PAD]"])
    line = world.refused("prepare", capsys)
    assert "interactions.csv, line 8 has the user_id '[PAD]', which is reserved: give it another id" in line
    world = shop(tmp_path / "items", items=[*ITEMS[:7], "[PAD]"])
    line = world.refused("prepare", capsys)
    assert "catalog.csv, line 9 has the item_id '[PAD]', which is reserved: give it another id" in line


def test_unknown_items_are_refused_unless_the_config_drops_them(tmp_path, capsys):
    world = shop(tmp_path)
    with (world.data / "interactions.csv").open("a") as file:
        file.write("u0,gone,7\nu1,lost,8\n")
    line = world.refused("prepare", capsys)
    assert "2 of 26 interactions in " in line
    assert (
        "'gone' (line 26), 'lost' (line 27); add these items, or drop the interactions by catalog.unknown_items" in line
    )
    assert world.run("train-ranker", "--catalog.unknown_items=drop") == 0
    assert "'gone' (line 26), 'lost' (line 27); they are dropped" in capsys.readouterr().err
    assert world.run("prepare", "--catalog.unknown_items=drop") == 0
    out = capsys.readouterr().out
    assert "4 users, 8 items, 24 interactions" in out
    assert "2 interactions with unknown items dropped" in out


def test_a_count_that_differs_stops_the_training(tmp_path, capsys, monkeypatch):
    """Read as pandas does by itself, user NA is missing, and with it six interactions."""
    world = shop(tmp_path, ["u0", "u1", "NA"])
    assert world.run("prepare") == 0
    monkeypatch.setattr(atomic_files, "_read_csv_with_text", atomic_files._read_csv)
    line = world.refused("train-ranker", capsys)
    assert "was prepared with 3 users, 8 items, 18 interactions, but after RecBole read the files there are 2" in line
    assert "(lost: user 'NA')" in line


def test_a_third_modality_by_the_config(tmp_path, capsys):
    world = shop(tmp_path)
    np.savez(world.data / "audio.npz", ids=np.array(ITEMS), values=np.eye(8, 5))
    for table in ("--features.files={audio: audio.npz}", "--features.files={audio: audio.npz, depth: audio.npz}"):
        assert world.run("train-ranker", table) == 0
    run = open_run(world.config, world.data, world.output)
    assert run.features.modalities == ("image", "text")
    line = world.refused("train-ranker", capsys, "--features.files={image: audio.npz}")
    assert "files names the modality 'image', whose table is named by features.image" in line
    line = world.refused("train-ranker", capsys, "--features.files={mean: audio.npz}")
    assert "files names the modality 'mean', which must be a word" in line


def mmrec(folder: Path, labels: str, modalities: Sequence[str]) -> Shop:
    """Eight people with as many interactions as there are labels; ten items."""
    rng, data = np.random.default_rng(0), folder / "data"
    data.mkdir(parents=True)
    rows = [(u, i, x) for u in range(8) for i, x in zip(rng.permutation(10), labels, strict=False)]
    (data / "x.inter").write_text("userID\titemID\tx_label\n" + "".join(f"{u}\t{i}\t{x}\n" for u, i, x in rows))
    for width, name in enumerate(modalities, 3):
        np.save(data / f"{name}_feat.npy", rng.normal(size=(10, width)))
    changes = {"dataset": "x", "catalog__preparer": "mmrec", "eval_args": {"split": {"LABEL": "x_label"}}, "epochs": 2}
    config = config_file(folder, **changes, topk=[2], valid_metric="Recall@2")
    return Shop(data, config, folder / "output")


def test_every_modality_of_mmrecs_folder_is_one_of_the_rankers(tmp_path, capsys):
    world = mmrec(tmp_path, "00012", ["audio", "image", "text"])
    assert world.run("prepare") == 0
    assert "features that came with the data set: image, text, audio" in capsys.readouterr().out
    ranker = open_run(world.config, world.data, world.output).ranker.trained.ranker
    assert ranker.content.names == ("image", "text", "audio")
    assert [ranker.content.features(name).shape[1] for name in ranker.content.names] == [4, 5, 3]


@pytest.mark.parametrize("model", ["MICRO", "LATTICE", "FREEDOM", "VBPR", "BM3"])
def test_one_modality_alone(tmp_path, model):
    world = mmrec(tmp_path, "00012", ["audio"])
    ranker = open_run(world.config, world.data, world.output).new_ranker(model=model)
    assert ranker.trained.ranker.content.names == ("audio",)


def test_features_without_images_train_no_generator(tmp_path, capsys):
    world = mmrec(tmp_path, "00012", ["audio"])
    run = open_run(world.config, world.data, world.output)
    with pytest.raises(ValueError, match="the features are audio, without images: rankers can be trained on them"):
        _ = run.ranker.reward


def test_a_split_without_validation_is_said(tmp_path, capsys):
    world = mmrec(tmp_path, "00002", ["image", "text"])
    assert world.run("train-ranker") == 0
    out = capsys.readouterr().out
    assert "MICRO was not validated, as the split has no interaction for validation" in out
    assert "it has the weights of its last epoch, 2; for those" in out


@pytest.mark.parametrize("step", ["demo", "train-generator", "report"])
def test_a_ranker_without_pictures_is_no_reward_and_that_is_said_before_any_training(tmp_path, capsys, step):
    case = shop(tmp_path)
    keys = ("--model=LightGCN", "--n_layers=1")
    config = case.config.read_text().replace("knn_k: 3\n", "")
    case.config.write_text(config)
    assert case.refused(step, capsys, *keys) == (
        "ragar-rec: model LightGCN scores without pictures, so it cannot say which picture a person would like better: "
        "take MICRO, LATTICE, FREEDOM, VBPR (--model=MICRO). `train-ranker` trains and measures LightGCN all the same"
    )
    assert {folder.name.split("-")[0] for folder in (case.output / "store").glob("*")} <= {"data", "pictures"}


def test_a_ranker_without_pictures_is_trained_and_measured(tmp_path, capsys):
    case = shop(tmp_path)
    case.config.write_text(case.config.read_text().replace("knn_k: 3\n", ""))
    assert case.run("train-ranker", "--model=LightGCN") == 0
    assert "LightGCN on validation: recall@2" in capsys.readouterr().out


@pytest.mark.parametrize("step", ["demo", "evaluate"])
def test_tables_of_results_refuse_sampled_metrics(tmp_path, capsys, step):
    sentence = shop(tmp_path).refused(step, capsys, "--eval_args.mode=uni10")
    assert sentence.startswith("ragar-rec: eval_args.mode uni10 ranks a held-out item among a few sampled ones")


def test_a_gpu_that_is_not_there_is_said_at_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert shop(tmp_path).run("prepare", "--use_gpu=true") == 0
    note = "use_gpu is true, but this machine, or this build of torch, has no GPU: the CPU trains the ranker\n"
    assert capsys.readouterr().err.startswith(note)
