"""Commands that the documentation gives, read by the programs that they are for."""

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.cli.hf import app
from huggingface_hub.utils import filter_repo_objects

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SD = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
]
"""What the table of docs/full-size.md wants of SD-1.5."""
OTHERS = ["README.md", "v1-5-pruned.safetensors", "unet/diffusion_pytorch_model.bin", "vae/model.fp16.safetensors"]
"""What else the hub has there."""


def test_hf_download_takes_what_the_full_size_folders_must_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several patterns behind one --include would be file names, and the first of them forgotten."""
    asked: dict[str, dict[str, Any]] = {}

    def stub(*, repo_id: str, **named: Any) -> str:
        asked[repo_id] = named
        return named["local_dir"]

    monkeypatch.setattr("huggingface_hub.cli.download.snapshot_download", stub)
    text = (DOCS / "full-size.md").read_text(encoding="utf-8").replace("\\\n", "")
    for command in re.findall(r"^hf (download .*)", text, flags=re.MULTILINE):
        app.main(shlex.split(command), standalone_mode=False)
    assert {name.partition("/")[2]: given["local_dir"] for name, given in asked.items()} == {
        name: f"weights/{name}"
        for name in ("stable-diffusion-v1-5", "Qwen2.5-0.5B-Instruct", "blip2-opt-2.7b", "IP-Adapter")
    }
    wanted = {name.partition("/")[2]: given["allow_patterns"] for name, given in asked.items()}
    assert list(filter_repo_objects(SD + OTHERS, allow_patterns=wanted["stable-diffusion-v1-5"])) == SD
    assert wanted["Qwen2.5-0.5B-Instruct"] is None  # all of it
    blip = ["config.json", "merges.txt", "model-00001-of-00002.safetensors", "pytorch_model-00001-of-00002.bin"]
    assert list(filter_repo_objects(blip, allow_patterns=wanted["blip2-opt-2.7b"])) == blip[:3]
    tower = ["models/image_encoder/config.json", "models/image_encoder/model.safetensors"]
    adapter = ["models/ip-adapter_sd15.safetensors", *tower, "models/ip-adapter_sd15.bin", "sdxl_models/x.safetensors"]
    assert list(filter_repo_objects(adapter, allow_patterns=wanted["IP-Adapter"])) == adapter[:3]


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
NAMES = re.compile(r"(?<![\w/.-])(?:recsys|generation|ragar_rec)(?:\.\w+)+")
FILES = re.compile(r"(?<![\w/.<-])(?:(?:recsys|generation|ragar_rec|experiments|tests)/[\w./-]+\.\w+|docs/[\w-]+\.md)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_modules_and_files_that_exist(page: Path) -> None:
    """`recsys.rankers.MICRO` is imported as a reader would; `recsys/rankers/micro.py` is looked for."""
    text = page.read_text(encoding="utf-8")
    assert [name for name in sorted(set(NAMES.findall(text))) if not resolves(name)] == []
    assert [file for file in sorted(set(FILES.findall(text))) if not (ROOT / file).exists()] == []


def resolves(name: str) -> bool:
    """Whether the dotted name is a module, or something that a module holds."""
    package, *rest = name.split(".")
    found: Any = importlib.import_module(package)
    for part in rest:
        try:
            found = (
                getattr(found, part) if hasattr(found, part) else importlib.import_module(f"{found.__name__}.{part}")
            )
        except (ImportError, AttributeError):
            return False
    return True
