"""What the scripts' command lines share."""

import argparse
from pathlib import Path

import pytest

from film_world import config_file
from ragar_rec.studies.arguments import ExperimentSource, add_names, script_parser


def names_parser() -> argparse.ArgumentParser:
    parser = script_parser("A receipt.\n\n    python some.py", data=None, output=Path("out"))
    add_names(parser, "--rows", ("a", "b, c", "50 %"), noun="row", separator=";")
    return parser


def test_paths_have_defaults_and_what_is_left_are_overrides() -> None:
    options, overrides = names_parser().parse_known_args(["--data=raw", "--rows=b, c;a", "--epochs=3", "--da=x"])
    assert vars(options) == {"data": Path("raw"), "output": Path("out"), "rows": ("b, c", "a")}
    assert overrides == ["--epochs=3", "--da=x"]  # no abbreviation of --data


def test_all_names_are_taken_by_default_and_unknown_ones_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert names_parser().parse_args([]).rows == ("a", "b, c", "50 %")
    with pytest.raises(SystemExit):
        names_parser().parse_args(["--rows=z;a;d"])
    assert "no row is called d, z; there are a; b, c; 50 %" in capsys.readouterr().err


def test_the_help_is_the_docstring_as_it_is_written() -> None:
    text = names_parser().format_help()
    assert "A receipt.\n\n    python some.py" in text
    assert "some of a; b, c; 50 %" in text


def test_a_source_opens_the_experiment_with_other_values_of_a_section(tmp_path: Path) -> None:
    source = ExperimentSource(config_file(tmp_path), ("--epochs=7", "--generator.k=3"), None, None, tmp_path / "out")
    run = source.open()
    assert (run.config.recbole["epochs"], run.config.generator.k, run.output) == (7, 3, tmp_path / "out")
    changed = source.open("generator", {"k": 5, "temperature": 1e6}).config
    assert (changed.generator.k, changed.generator.temperature) == (5, 1e6)
    assert changed.as_dict() | {"generator": {}} == run.config.as_dict() | {"generator": {}}
