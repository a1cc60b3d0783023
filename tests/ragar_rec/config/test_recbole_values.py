"""Types and ranges of RecBole's keys: each mistake is a sentence when the config is read."""

from pathlib import Path

import pytest

from ragar_rec.config.config import Config
from ragar_rec.config.recbole_values import sampled_modes
from ragar_rec.errors import ConfigError

TEXT = "model: MICRO\ndataset: shop\ntopk: [10, 20]\nmetrics: [Recall, NDCG]\nvalid_metric: Recall@10\n"


def problems(folder: Path, *overrides: str, text: str = TEXT) -> list[str]:
    (folder / "run.yaml").write_text(text)
    try:
        Config.read(folder / "run.yaml", overrides)
    except ConfigError as error:
        return list(error.problems)
    return []


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("--epochs=abc", "`epochs` on the command line: expected an integer, at least 1, got 'abc'"),
        ("--epochs=0", "`epochs` on the command line: expected an integer, at least 1, got 0"),
        ("--train_batch_size=0", "`train_batch_size` on the command line: expected an integer, at least 1, got 0"),
        ("--stopping_step=0", "`stopping_step` on the command line: expected an integer, at least 1, got 0"),
        ("--learning_rate=-1", "`learning_rate` on the command line: expected a number, above 0, got -1"),
        ("--topk=[0]", "`topk` on the command line: expected an integer, at least 1 or a list of such, got [0]"),
        ("--topk=[]", "`topk` on the command line: expected one at least, got []"),
        ("--use_gpu=maybe", "`use_gpu` on the command line: expected true or false, got 'maybe'"),
        (
            "--message_dropout=1",
            "`message_dropout` on the command line: expected a number, at least 0 and below 1, got 1",
        ),
        ("--eval_args=full", "`eval_args` on the command line: expected a mapping, got 'full'"),
        ("--eval_args.order=time", "`eval_args.order` on the command line: expected one of RO, TO, got 'time'"),
        (
            "--eval_args.mode=uni",
            "`eval_args.mode` on the command line: expected full, labeled, or a number of sampled items (uni100: "
            "uniformly, pop100: by popularity) or a mapping to such, got 'uni'",
        ),
        (
            "--eval_args.oder=TO",
            "unknown key `eval_args.oder` on the command line: the nearest valid key is `eval_args.order`",
        ),
        (
            "--eval_args.split={LS: valid}",
            "`eval_args.split` on the command line: eval_args.split.LS is 'valid', but must be one of valid_and_test, "
            "valid_only, test_only",
        ),
        (
            "--eval_args.split={COLD: 2}",
            "`eval_args.split` on the command line: eval_args.split.COLD is 2, but must be a share of the items, "
            "between 0 and 1",
        ),
        (
            "--eval_args.split={RS: [0.8, 0.2]}",
            "`eval_args.split` on the command line: eval_args.split.RS is [0.8, 0.2], but must be three shares such as "
            "[0.8, 0.1, 0.1]",
        ),
        (
            "--valid_metric=Recal@10",
            "`valid_metric` on the command line: Recal@10 is not among Recall@10, Recall@20, NDCG@10, NDCG@20, which "
            "metrics and topk ask for; the nearest is --valid_metric=Recall@10",
        ),
    ],
)
def test_a_wrong_value_is_said_with_its_place_and_what_is_right(tmp_path: Path, override: str, sentence: str) -> None:
    assert problems(tmp_path, override) == [sentence]


def test_all_wrong_values_are_said_at_once_with_the_file(tmp_path: Path) -> None:
    found = problems(tmp_path, "--epochs=0", text=TEXT + "learning_rate: fast\n")
    place = f"in {tmp_path / 'run.yaml'}"
    assert f"`learning_rate` {place}: expected a number, above 0, got 'fast'" in found
    assert len(found) == 2


def test_an_unknown_metric_names_the_nearest(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "--metrics=[Foo, Recal]")
    assert problem.startswith("`metrics` on the command line: expected a metric of RecBole's (AUC, AveragePopularity, ")
    assert problem.endswith("got ['Foo', 'Recal']; did you mean Recall by 'Recal'?")


def test_lists_that_do_not_hold_the_metric_of_early_stopping(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "--topk=[5]")
    assert problem.startswith(f"`valid_metric` in {tmp_path / 'run.yaml'}: Recall@10 is not among Recall@5, NDCG@5, ")


def test_a_metric_of_single_scores_needs_sampled_items(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "--metrics=AUC", "--valid_metric=AUC")
    assert "AUC is measured on single scores, but eval_args.mode full ranks lists" in problem
    assert not problems(tmp_path, "--metrics=AUC", "--valid_metric=AUC", "--eval_args.mode=uni100")


@pytest.mark.parametrize(
    "overrides",
    [
        ("--model=EASE", "--reg_weight=250"),
        ("--model=BPR", "--embedding_size=x"),  # a key of RecBole's ranker is the ranker's to judge
        ("--metrics=recall", "--topk=10", "--valid_metric=recall@10"),
        ("--learning_rate=1", "--knn_n_cells=null", "--train_neg_sample_args={sample_num: 2}"),
        ("--eval_args.split={COLD: 0.2}",),
        ("--eval_args.mode={valid: uni10, test: full}",),
    ],
)
def test_what_recbole_takes_is_taken(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    assert problems(tmp_path, *overrides) == []


def test_keys_of_a_ranker_of_ones_own_are_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its `anchors` are words, and its `learner` is one that RecBole lacks; `epochs` is RecBole's key all the same."""
    (tmp_path / "late_shop.py").write_text('class Own:\n    DEFAULTS = {"anchors": "many", "learner": "lion"}\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    assert problems(tmp_path, "--model=late_shop:Own", "--anchors=few", "--learner=tiger") == []
    (problem,) = problems(tmp_path, "--model=late_shop:Own", "--epochs=0")
    assert problem.startswith("`epochs` on the command line")


def test_a_ranker_by_another_case_of_letters(tmp_path: Path) -> None:
    assert problems(tmp_path, "--model=Micro") == [
        "`model` on the command line: there is no ranker 'Micro'; did you mean 'MICRO'?"
    ]


def test_modes_that_sample() -> None:
    assert sampled_modes({}) == sampled_modes({"eval_args": {"mode": "full"}}) == []
    assert sampled_modes({"eval_args": {"mode": {"valid": "uni10", "test": "full"}}}) == ["uni10"]


@pytest.mark.parametrize("key", ["steps", "reflection.steps"])
def test_a_strength_without_room_for_its_steps(tmp_path: Path, key: str) -> None:
    """.001 of 1,000 steps is one; two of them need .002."""
    found = problems(tmp_path, "--generator.strength=.001", "--generator.steps=2", "--reflection.steps=2")
    assert (
        f"`generator` on the command line: strength 0.001 goes through 1 of the diffusion's 1,000 steps, fewer than "
        f"{key} 2: take a strength of at least 0.002"
    ) in found
    assert not problems(tmp_path, "--generator.strength=.002", "--generator.steps=2", "--reflection.steps=2")
    image_to_image = ("--backbone.task=image-to-image", "--backbone.start=scratch", "--backbone.encoder_steps=1")
    noise = ("--generator.strength=.001", "--generator.text_to_image=true", "--backbone.unet_steps=1")
    assert not problems(tmp_path, *noise, *image_to_image)


def test_noise_alone_is_nothing_for_a_backbone_that_edits(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "--generator.text_to_image=true")
    assert "the small backbone edits a reference and cannot draw from noise alone" in found
