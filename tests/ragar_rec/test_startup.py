"""What a command imports before it needs it: the libraries that take seconds stay out of the first ones."""

import subprocess
import sys
from pathlib import Path

from film_world import config_file, film_folder

HEAVY = (
    "diffusers",
    "torch_geometric",
    "transformers",
    "recbole",
    "sklearn",
    "open_clip",
    "timm",
    "faiss",
    "matplotlib",
)

CODE = f"""
import sys
from ragar_rec import cli
code = cli.main(sys.argv[1:])
print("code", code, "loaded", *[name for name in {HEAVY!r} if name in sys.modules])
print("torch", "torch" in sys.modules)
"""


def last_lines(*arguments: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-2:]


def test_prepare_loads_none_of_the_large_libraries(tmp_path: Path) -> None:
    films, output = film_folder(tmp_path / "films"), tmp_path / "output"
    options = (f"--config={config_file(tmp_path)}", f"--data={films}", f"--output={output}")
    assert last_lines("prepare", *options)[0] == "code 0 loaded"
    assert (output / "store").is_dir()


def test_a_mistake_in_the_config_is_said_before_torch_is_loaded(tmp_path: Path) -> None:
    assert last_lines("demo", "--epochs=abc", f"--output={tmp_path}") == ["code 2 loaded", "torch False"]
