"""What the wheel holds: three packages, licence, presets, prompts; no tests, no experiments, no pictures, no data."""

import re
import sys
import zipfile
from pathlib import Path

PACKAGES = {"ragar_rec", "recsys", "generation"}
PRESETS = Path(__file__).parents[1] / "ragar_rec" / "presets"
NEEDED = (
    *(f"ragar_rec/presets/{file.name}" for file in sorted(PRESETS.glob("*.yaml"))),
    "ragar_rec/report/report.html.jinja",
    "licenses/LICENSE",
    "generation/words/templates/keywords.txt",
    "generation/words/templates/preference.txt",
    "generation/backbone/package/backbone/model_index.json",
    "generation/backbone/package/encoder/open_clip_model.safetensors",
)
SUFFIXES = {
    ".py",
    ".pyi",
    ".yaml",
    ".jinja",
    ".txt",
    ".ttf",
    ".typed",
    "",
}  # "" is dist-info: METADATA, RECORD, LICENSE …
LARGEST = 200_000  # bytes of one file
MODELS = "generation/backbone/package/"  # the small models that come with the library
MODEL_SUFFIXES = {".json", ".md", ".safetensors"}
LARGEST_MODELS = 16_000_000  # bytes, all of them together


def complaints(wheel: Path) -> list[str]:
    """Every way in which the wheel is not what it should be, as sentences."""
    with zipfile.ZipFile(wheel) as archive:
        files = {info.filename: info.file_size for info in archive.infolist() if not info.is_dir()}
    inside = {name: size for name, size in files.items() if not re.match(r"[^/]+\.dist-info/", name)}
    tops = {name.split("/")[0] for name in inside}
    found = []
    if tops != PACKAGES:
        found.append(f"top level is {sorted(tops)}, expected {sorted(PACKAGES)}")
    found += [f"{need} is missing" for need in NEEDED if not any(name.endswith(need) for name in files)]
    models = {name: inside.pop(name) for name in list(inside) if name.startswith(MODELS)}
    if (size := sum(models.values())) > LARGEST_MODELS:
        found.append(f"{MODELS} has {size:,} bytes, more than {LARGEST_MODELS:,}")
    found += [f"{name} does not belong in a wheel" for name in models if Path(name).suffix not in MODEL_SUFFIXES]
    found += [f"{name} does not belong in a wheel" for name in inside if Path(name).suffix not in SUFFIXES]
    found += [f"{name} has {size:,} bytes, more than {LARGEST:,}" for name, size in inside.items() if size > LARGEST]
    return found


if __name__ == "__main__":
    path = Path(sys.argv[1])
    problems = complaints(path)
    for problem in problems:
        print(f"{path.name}: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"{path.name}: {', '.join(sorted(PACKAGES))}; {path.stat().st_size / 1024:.0f} KiB")
