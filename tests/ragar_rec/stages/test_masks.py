"""`generator.keep`: a catalogue's masks as a stage, how they count in keys, and the pictures that they apply to."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from film_world import HOLE, config_file, open_run
from generation.pictures import to_float
from ragar_rec import cli, pipeline
from ragar_rec.experiment import Experiment
from ragar_rec.stages import showcases
from ragar_rec.stages.item_pictures import reconstructed


def opened(home: Path, films: Path, keep: str) -> Experiment:
    return open_run(config_file(home, generator__keep=keep), films, home / "out")


@pytest.fixture
def own(films: Path, tmp_path: Path) -> Path:
    """The films' folder with ``masks`` in it: the upper half of each picture is kept."""
    shutil.copytree(films, tmp_path / "raw")
    (tmp_path / "raw" / "masks").mkdir()
    for file in (tmp_path / "raw" / "posters").iterdir():
        mask = Image.new("L", (32, 48), 0)
        mask.paste(255, (0, 0, 32, 24))
        mask.save(tmp_path / "raw" / "masks" / f"{file.stem}.png")
    return tmp_path / "raw"


def test_none_makes_no_masks(films: Path, tmp_path: Path) -> None:
    assert opened(tmp_path, films, "none").masks is None
    assert open_run(config_file(tmp_path), films, tmp_path / "out").masks is None


def test_the_shape_on_a_poster_is_kept(films: Path, tmp_path: Path) -> None:
    """Film 5's ellipse ends at column 16, its JPEG block and so the noise at 23, and the soft edge two pixels on."""
    masks = opened(tmp_path, films, "foreground").masks
    assert masks is not None
    assert masks.kept.shape == (24, 32, 32)
    assert masks.unknown == []
    of_film = masks.kept[4]
    assert of_film[9, 10] == 255
    assert (of_film[:, 26:] == 0).all()
    assert masks.kept[int(HOLE) - 1].sum() == 0
    share = float(masks.kept[:23].float().mean()) / 255
    assert masks.summary == f"`generator.keep: foreground` keeps {share:.0%} of the average picture as it is."


def test_pictures_without_a_foreground_are_counted_and_kept(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`prepare` says so, and shows 23 pictures and their masks in rows of four, each two pixels from the next."""
    Image.new("RGB", (32, 48), "white").save(own / "posters" / "7.jpg")
    run = opened(tmp_path, own, "foreground")
    masks = run.masks
    assert masks is not None
    assert (masks.kept[6] == 255).all()
    sentence = "1 of 23 pictures show nothing before a background of one colour, and are kept as a whole: 7."
    assert masks.summary.endswith(sentence)
    pipeline.prepare(run)
    assert f"{masks.summary} Some of them: {run.output / 'masks.png'}" in capsys.readouterr().out
    with Image.open(run.output / "masks.png") as sheet:
        assert sheet.size == (8 * 34 + 2, 6 * 34 + 2)
        assert sheet.getpixel((2 + 34 + 30, 2 + 30)) == (255, 0, 255)


def test_masks_of_a_folder_count_by_their_content(own: Path, tmp_path: Path) -> None:
    first = opened(tmp_path, own, "masks").masks
    assert first is not None
    assert first.kept[0, :14].min() > 250
    assert first.kept[0, 20:].max() == 0
    shutil.copytree(own / "masks", tmp_path / "elsewhere")
    elsewhere = opened(tmp_path, own, str(tmp_path / "elsewhere")).masks
    assert elsewhere is not None
    assert elsewhere.folder == first.folder
    Image.new("L", (32, 48), 0).save(own / "masks" / "3.png")
    changed = opened(tmp_path, own, "masks").masks
    assert changed is not None
    assert changed.folder != first.folder
    assert changed.kept[2].sum() == 0


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ("foregroud", "generator.keep 'foregroud' is neither none nor foreground"),
        ("masks", "has no mask of 1 of 23 items with a picture (5)"),
        ("white", "white are white throughout, so nothing could change"),
    ],
)
def test_what_cannot_be_kept_is_said_before_anything_is_trained(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], keep: str, message: str
) -> None:
    (own / "masks" / "5.png").unlink()
    (own / "white").mkdir()
    for file in (own / "posters").iterdir():
        Image.new("L", (32, 48), 255).save(own / "white" / f"{file.stem}.png")
    config, output = config_file(tmp_path, generator__keep=keep), tmp_path / "out"
    assert cli.main(["evaluate", f"--config={config}", f"--data={own}", f"--output={output}"]) == 2
    assert message in capsys.readouterr().err
    assert not list((output / "store").glob("ranker-*"))


def test_of_the_generators_pictures_and_of_the_codecs_the_masks_are_kept(own: Path, tmp_path: Path) -> None:
    """The upper half is the poster's in both; the lower half of no picture is. The report shows the masks.

    Masks train no other backbone, but everything that stands on the gallery counts them.
    """
    run = opened(tmp_path, own, "masks")
    pairs = showcases.pairs(run.system, 0)
    assert len(pairs) > 1
    ((ids, images),) = reconstructed(run.system, ["1", "2"])
    posters = to_float(run.pictures.images[run.pictures.rows(ids)])
    drawn = [(pair.generated, pair.reference) for pair in pairs]
    for picture, reference in [*drawn, *zip(images, posters, strict=True)]:
        assert torch.equal(picture[:, :14], reference[:, :14])
        assert (picture[:, 20:] - reference[:, 20:]).abs().max() > 0.02
    assert all(pair.kept is not None and pair.kept.shape == (3, 32, 32) for pair in pairs)
    plain = opened(tmp_path, own, "none")
    assert plain.components.content != run.components.content
    assert plain.components.backbone.content == run.components.backbone.content
    assert set(plain.store.ran) == set()
