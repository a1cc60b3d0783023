import inspect
import re
from pathlib import Path

import pytest
import yaml

from ragar_rec.config.config import Config, sections
from ragar_rec.config.presets import find_config
from ragar_rec.config.schema import conform, field_types
from ragar_rec.errors import ConfigError
from ragar_rec.store.hashing import digest

RECBOLE = {"model", "dataset", "epochs", "learning_rate", "eval_args", "topk", "features"}
ROOT = Path(__file__).parents[3]


def known(model: str) -> set[str]:
    return RECBOLE | ({"n_layers"} if model == "LightGCN" else {"knn_k"})


def read(folder: Path, text: str, *overrides: str) -> Config:
    (folder / "run.yaml").write_text(text)
    return Config.read(folder / "run.yaml", overrides, known_keys=known)


def problems(folder: Path, text: str, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text, *overrides)
    return caught.value.problems


def test_recbole_keys_pass_through_untouched(tmp_path):
    text = "model: MICRO\nepochs: 3\neval_args: {order: TO, split: {RS: [0.8, 0.1, 0.1]}}\ngenerator: {k: 3}\n"
    config = read(tmp_path, text)
    assert dict(config.recbole) == {
        "model": "MICRO",
        "epochs": 3,
        "eval_args": {"order": "TO", "split": {"RS": [0.8, 0.1, 0.1]}},
    }
    assert config.generator.k == 3
    assert config.generator.history_length == 20


def test_the_command_line_wins_and_reaches_nested_keys_of_both(tmp_path):
    config = read(
        tmp_path,
        "epochs: 3\neval_args: {order: TO, mode: full}\ngenerator: {k: 3}\n",
        "--epochs=50",
        "--reflection.reward_steps=7",
        "--eval_args.order=RO",
        "--backbone.unet_widths=[16, 32, 48]",
    )
    assert config.recbole["epochs"] == 50
    assert config.recbole["eval_args"] == {"order": "RO", "mode": "full"}
    assert (config.generator.k, config.reflection.reward_steps) == (3, 7)
    assert config.backbone.unet_widths == (16, 32, 48)


def test_a_mapping_of_rewards_is_typed_in_one_piece(tmp_path):
    config = read(tmp_path, "", "--reflection.rewards={ranker: 0.5, relevance: 2}")
    assert config.reflection.rewards == {"ranker": 0.5, "relevance": 2.0}
    (problem,) = problems(tmp_path, "", "--reflection.rewards.relevance=2")
    assert "unknown key `reflection.rewards.relevance` on the command line: the nearest valid key is" in problem
    assert problem.endswith("`reflection.rewards`")


@pytest.mark.parametrize("overrides", [(), ("--features.depth=depth.npz",)])
def test_further_modalities_are_named_beside_image_and_text(tmp_path, overrides):
    """A file of a table, under a name that is no field, is the table of a modality."""
    file = tmp_path / "run.yaml"
    file.write_text("features: {audio: audio.npy, files: {video: v.npz}, image: image.npy}")
    config = Config.read(file, overrides, known_keys=known)
    tables = {"audio": "audio.npy", "video": "v.npz"} | ({"depth": "depth.npz"} if overrides else {})
    assert config.features.files == tables
    assert config.features.image == "image.npy"


@pytest.mark.parametrize("text", ["imge: image.npy", "audio: loud", "audio: 3", "texts: t.npz", "mean: m.npy"])
def test_an_unknown_key_of_the_features_is_no_modality(tmp_path, text):
    file = tmp_path / "run.yaml"
    file.write_text(f"features: {{{text}}}")
    with pytest.raises(ConfigError, match=f"unknown key `features.{text.partition(':')[0]}`"):
        Config.read(file, known_keys=known)


def test_scientific_notation_is_a_number_here_and_in_recboles_keys(tmp_path):
    config = read(tmp_path, "learning_rate: 5e-4\nreflection: {learning_rate: 1e-5}\n", "--backbone.learning_rate=2E-3")
    assert config.recbole["learning_rate"] == 0.0005
    assert config.reflection.learning_rate == 0.00001
    assert config.backbone.learning_rate == 0.002


@pytest.mark.parametrize(
    ("text", "typed", "near"),
    [
        ("reflection: {smaples: 3}", "reflection.smaples", "reflection.samples"),
        ("epoch: 3", "epoch", "epochs"),
        ("reward_steps: 3", "reward_steps", "reflection.reward_steps"),
        ("generator: {candidates: 3}", "generator.candidates", "evaluation.candidates"),
        ("reflection: {learning_rte: 3}", "reflection.learning_rte", "reflection.learning_rate"),
        ("features: {text_dims: 3}", "features.text_dims", "features.text_dim"),
        ("generatr: {k: 3}", "generatr", "generator.k"),
    ],
)
def test_an_unknown_key_is_named_with_the_file_and_the_nearest_valid_key(tmp_path, text, typed, near):
    (problem,) = problems(tmp_path, text)
    assert f"`{typed}`" in problem
    assert str(tmp_path / "run.yaml") in problem
    assert problem.endswith(f"`{near}`")


def test_which_keys_recbole_knows_depends_on_the_model(tmp_path):
    assert read(tmp_path, "model: LightGCN\nn_layers: 3").recbole["n_layers"] == 3
    assert "`n_layers`" in problems(tmp_path, "model: MICRO\nn_layers: 3")[0]


def test_all_problems_are_shown_at_once_each_with_its_place(tmp_path):
    text = "epoch: 3\ngenerator: {k: many}\nreflection: {samples: 1, noise: fulll}\nfeatures: {text_dim: 0}\n"
    found = problems(tmp_path, text, "--evaluation.users=-1", "--reflection.sigma=0", "--oops")
    assert len(found) == 8
    joined = "\n".join(found)
    file = tmp_path / "run.yaml"
    assert f"unknown key `epoch` in {file}: the nearest valid key is `epochs`" in joined
    assert f"`generator.k` in {file}: expected an integer, got 'many'" in joined
    assert "samples 1 must be even, as they come in pairs" in joined
    assert f"`features.text_dim` in {file}: expected an integer, at least 1, got 0" in joined
    assert "expected one of full, token_shared, low_rank, got 'fulll'" in joined
    assert "`evaluation.users` on the command line: expected an integer, at least 0, got -1" in joined
    assert "sigma 0.0 must be positive" in joined
    assert "`--oops` on the command line: expected --key=value" in joined


def test_k_larger_than_the_history_is_refused(tmp_path):
    (problem,) = problems(tmp_path, "generator: {k: 21}")
    assert "k 21 with history top_k needs 21 items, but history_length is 20" in problem
    (problem,) = problems(tmp_path, "generator: {k: 11, history: next_k}")
    assert "needs 22 items" in problem
    assert read(tmp_path, "generator: {k: 10, history: next_k}").generator.k == 10


def test_a_size_that_the_codec_does_not_divide_is_refused(tmp_path):
    (problem,) = problems(tmp_path, "backbone: {image_height: 100}")
    assert "image_height 100 is no multiple of 8" in problem


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("backbone.image_width=8", "image_width 8 is no multiple of 8 from 16 on"),
        ("backbone.unet_widths=[]", r"unet_widths \[\] must be one multiple of 16 or more"),
        ("backbone.unet_widths=[32, 40]", r"unet_widths \[32, 40\] must be one multiple of 16 or more"),
        ("backbone.unet_widths=[-16]", r"unet_widths \[-16\] must be"),
        ("backbone.encoder_width=0", "encoder_width 0 is no multiple of 32"),
        ("backbone.vocab_size=513", "vocab_size 513: 514 tokens are taken before the first merge"),
        ("backbone.learning_rate=0", "learning_rate 0.0 must be positive"),
        ("language.hidden_size=36", "hidden_size 36 is no multiple of 8"),
        ("language.hidden_size=0", "hidden_size 0 is no multiple of 8"),
        ("language.vocab_size=256", "vocab_size 256: one special token and the 256 bytes"),
        ("language.layers=0", "layers must be at least 1, got 0"),
        ("language.steps=0", "steps must be at least 1, got 0"),
        ("generator.mapper_width=30", "mapper_width 30 is no multiple of 4"),
        ("generator.mapper_width=0", "mapper_width 0 is no multiple of 4"),
        ("generator.retrieval_taste=1.5", "retrieval_taste 1.5 must be a share, from 0 to 1"),
        ("reflection.alpha=-0.1", "alpha -0.1 must not be negative"),
        ("reflection.beta=-1", "beta -1.0 must not be negative"),
        ("reflection.gamma=-1", "gamma -1.0 must not be negative"),
        ("reflection.kl=-1", "kl -1.0 must not be negative"),
        ("reflection.lora_rank=-1", "lora_rank -1 must not be negative"),
        (
            "reflection.lora_rank=4",
            "lora_rank 4 belongs to objectives path and nft: reinforce has no gradient for the UNet",
        ),
        ("reflection.margin=-1", "margin -1.0 must not be negative"),
        ("reflection.seed=-1", "seed -1 must not be negative"),
        ("reflection.steps=0", "steps must be at least 1, got 0"),
    ],
)
def test_a_number_out_of_its_range_is_refused_before_anything_is_trained(tmp_path, setting, words):
    (problem,) = problems(tmp_path, "", f"--{setting}")
    assert re.search(f"`{setting.partition('.')[0]}` on the command line: {words}", problem)


def test_lists_of_the_evaluation_hold_something_and_nothing_twice(tmp_path):
    found = problems(tmp_path, "evaluation: {protocols: [], seeds: [1, 1], controls: [random_item]}")
    assert len(found) == 3
    assert "controls must include original" in found[2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epochs: 3\nepochs: 4", "line 1.*`epochs` stands there twice"),
        ("generator: {k: 3, k: 4}", "`k` stands there twice"),
        ("a: [1", "is no YAML"),
        ("just words", "holds no `key: value` lines"),
        ("generator: 5", "`generator` in .*expected a section"),
    ],
)
def test_a_file_that_is_no_config_says_what_is_wrong(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, text)


def test_a_section_on_the_command_line_needs_a_key(tmp_path):
    assert "write --generator.<key>=<value>" in problems(tmp_path, "", "--generator=5")[0]


def test_the_plain_tree_holds_what_was_typed_by_section(tmp_path):
    one, other = read(tmp_path, "epochs: 3").as_dict(), read(tmp_path, "epochs: 4", "--generator.k=4").as_dict()
    assert {name for name in one if one[name] != other[name]} == {"generator", "recbole"}
    assert digest(one) != digest(other)
    assert (one["generator"]["k"], other["generator"]["k"], one["recbole"]["epochs"]) == (5, 4, 3)
    assert one["generator"]["steps"] == other["generator"]["steps"]


def test_the_tree_cannot_be_changed(tmp_path):
    config = read(tmp_path, "epochs: 3")
    with pytest.raises(AttributeError):
        config.generator.k = 4  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError):
        config.recbole["epochs"] = 4  # pyright: ignore[reportIndexIssue]
    config.as_dict()["recbole"]["epochs"] = 5
    assert config.recbole["epochs"] == 3


def test_what_was_written_reads_back_equal(tmp_path):
    config = read(
        tmp_path, "model: MICRO\nepochs: 3\ntopk: [10, 20]", "--backbone.unet_widths=[16]", "--generator.strength=1"
    )
    config.write(tmp_path / "all.yaml")
    assert Config.read(tmp_path / "all.yaml", known_keys=known) == config


@pytest.mark.parametrize("section", list(sections()))
def test_every_default_is_allowed_and_every_field_has_a_docstring(section):
    kind = sections()[section]
    # A section may inherit fields: those of its bases stand in the bases' sources.
    source = [line for base in kind.__mro__[:-1] for line in inspect.getsource(base).splitlines()]
    for name, annotation in field_types(kind).items():
        value = getattr(kind(), name)
        assert conform(value, annotation) == value
        line = next(at for at, text in enumerate(source) if text.startswith(f"    {name}: ") and " = " in text)
        assert source[line + 1].startswith('    """')
    assert not list(getattr(kind(), "conflicts", list)())


def test_the_embedded_default_uses_our_keys_rightly_and_the_long_one_differs_in_the_reward_steps():
    tree, long = (yaml.safe_load(find_config(name).read_text()) for name in ("ml-100k", "ml-100k-long"))
    config = Config.read("ml-100k", known_keys=lambda model: set(tree) - set(sections()))
    assert (config.evaluation.users, config.evaluation.candidates, config.generator.steps) == (150, 10, 1)
    assert long.pop("reflection") == {**tree.pop("reflection"), "reward_steps": 250}
    assert tree["judges"].pop("shuffles") == 0  # less for the demo
    assert long == tree


def test_a_ranker_that_does_not_exist_is_a_problem_of_the_config(tmp_path):
    def none(model: str) -> set[str]:
        raise ValueError(f"there is no ranker {model!r}")

    (tmp_path / "run.yaml").write_text("model: MICROO")
    with pytest.raises(ConfigError, match=r"`model` in .*run\.yaml: there is no ranker 'MICROO'"):
        Config.read(tmp_path / "run.yaml", known_keys=none)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("--judges.j={mode: VBPR}", "unknown key `mode`: the nearest valid key is `model`"),
        ("--judges.j={model: LightGCN}", "j: LightGCN scores without pictures, so it cannot judge them"),
        ("--judges.j={image_encoder: hogg}", "j: there is no image encoder 'hogg': do you mean hog?"),
        ("--judges.j={settings: {learning_rat: 1}}", "learning_rat: the nearest valid key is learning_rate"),
        ("--judges.j={settings: {split_seed: 1}}", "j: settings.split_seed is the same for all rankers"),
        ("--judges.j={settings: {eval_args: {}}}", "j: settings.eval_args is the same for all rankers"),
        ("--judges.j={model: MICRO, settings: {train_features: true}}", "settings.train_features is the same for all"),
        ("--reflection.ranker=vbpr", "there is no ranker 'vbpr' to reward: the nearest of judges is taste"),
        ("--reflection.personal=-1", "personal -1 must not be negative"),
        ("--reflection.personal=true", "`reflection.personal` on the command line: expected"),
        ("--evaluation.permutations=50", "permutations 50 can show nothing at alpha 0.01: the smallest p-value"),
        ("--evaluation.training_seeds=[1, 2]", "training_seeds [1, 2] must begin with 0"),
        ("--generator.compared_with=[ragar]", "must name no system twice"),
    ],
)
def test_judges_and_seeds_that_could_show_nothing_are_refused(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        Config.read("ml-100k", [override])


def test_a_personal_reward_needs_the_rankers() -> None:
    with pytest.raises(ConfigError, match="personal 3 is about the reward ranker, but rewards name relevance"):
        Config.read("ml-100k", ["--reflection.personal=3", "--reflection.rewards={relevance: 1.0}"])


def test_judges_are_read_by_name_from_file_and_command_line(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text("dataset: shop\njudges:\n  other: {model: VBPR, seed: 7, settings: {learning_rate: 0.01}}\n")
    judges = Config.read(file, ["--judges.third.model=LATTICE"]).judges.rankers
    assert list(judges) == ["other", "third"]
    assert (judges["other"].seed, judges["other"].settings) == (7, {"learning_rate": 0.01})
    assert judges["third"].model == "LATTICE"
    # A key of a judge that the file names changes that key alone, wherever the file names it.
    for preset in ("own", "ml-100k"):
        taste = Config.read(preset, ["--judges.taste.whiten=7"]).judges.rankers["taste"]
        assert (taste.model, taste.image_encoder, taste.whiten) == ("VBPR", "dual", 7)
    sentence = (
        "`reflection.ranker` on the command line: there is no ranker 'othr' to reward: the nearest of judges is other"
    )
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        Config.read(file, ["--reflection.ranker=othr"])
