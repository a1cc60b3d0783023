import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ragar_rec

ROOT = Path(__file__).parents[2]


def python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]  # which puts the working folder in front of PYTHONPATH
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


@pytest.mark.parametrize("init", [True, False])
def test_a_users_own_folder_in_front_of_ours_is_named(tmp_path, init):
    (tmp_path / "generation").mkdir()
    if init:
        (tmp_path / "generation" / "__init__.py").write_text("")
    done = python("import ragar_rec", tmp_path)
    if init:
        assert done.returncode != 0
        assert "ShadowedPackageError" in done.stderr
        assert f"found it in {tmp_path / 'generation'}" in done.stderr
        assert "rename that folder" in done.stderr
    else:  # Python itself prefers our package to a folder without __init__.py
        assert done.returncode == 0


def test_a_missing_package_is_named(tmp_path):
    with pytest.raises(ragar_rec.ShadowedPackageError, match=r"no_such_package.*found none"):
        ragar_rec._check_packages(("no_such_package",), tmp_path)


def test_public_names_are_lazy_and_real():
    done = python("import sys, ragar_rec; assert 'torch' not in sys.modules", ROOT)
    assert done.returncode == 0, done.stderr
    for name in ragar_rec.__all__:
        assert getattr(ragar_rec, name).__name__.rpartition(".")[2] == name
    assert {"Config", "ImageShards", "Report", "Row", "Store"} < set(ragar_rec.__all__) <= set(dir(ragar_rec))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ragar_rec.nonsense


@pytest.mark.parametrize(
    "file", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda file: file.name
)
def test_no_page_waits_for_its_numbers(file):
    assert re.findall(r"@[A-Z]+@|.*filled in.*", file.read_text(encoding="utf-8")) == []


def test_an_experiment_is_opened_by_texts_and_keywords(tmp_path):
    """Paths as texts, a preset by its name, keys as overrides; nothing is built and nothing imported before."""
    experiment = ragar_rec.Experiment.open("own", data=str(tmp_path), output=str(tmp_path / "out"))
    assert (experiment.config.catalog.preparer, experiment.output) == ("own", tmp_path / "out")
    assert ragar_rec.pipeline.Run.open(overrides=["--epochs=3"], output=str(tmp_path)).config.recbole["epochs"] == 3
    assert {"Experiment", "Generator", "ImageEncoder", "Request", "Results", "Reward", "pipeline"} < set(
        ragar_rec.__all__
    )
