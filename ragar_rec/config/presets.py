"""The configs that come with the package, each found by its name: `--config own`."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "presets"
"""Where the presets lie, `<name>.yaml` each."""

DEFAULT = "ml-100k"
"""The preset that is read when no config is named: the embedded data set."""


def preset_names() -> list[str]:
    """Names of the presets, by alphabet."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def find_config(config: Path | str) -> Path:
    """The YAML file that a path or a preset's name stands for. A file of that path is preferred to a preset.

    Raises:
        FileNotFoundError: there is neither; the presets are listed.
    """
    # Only a file wins: a folder of one's own data may well be called `own`.
    if Path(config).is_file():
        return Path(config)
    names = preset_names()
    if str(config) not in names:
        raise FileNotFoundError(
            f"no config file at {config}, and no preset of that name; presets are {', '.join(names)}"
        )
    return FOLDER / f"{config}.yaml"
