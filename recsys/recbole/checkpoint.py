"""Checkpoints of rankers: weights as safetensors, state as JSON with the identity of what was trained."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from recsys.feature_files import feature_files

logger = logging.getLogger(__name__)

STATE, WEIGHTS = "ranker.json", "ranker.safetensors"

# Keys that do not change the trained ranker: where files are, what is shown, how fast it runs. `features` is among
# them because `identity` hashes the content of the feature files instead of their paths.
INCIDENTAL = {
    "data_path",
    "checkpoint_dir",
    "show_progress",
    "gpu_id",
    "use_gpu",
    "worker",
    "state",
    "eval_batch_size",
    "metric_decimal_place",
    "features",
    "missing_features",
    "loss_decimal_place",
    "dataset_save_path",
    "dataloaders_save_path",
    "save_dataset",
    "save_dataloaders",
    "log_wandb",
    "wandb_project",
    "config_file",
}


def identity(config: Mapping[str, Any], data_digest: str, code: Path | None = None) -> dict[str, Any]:
    """Everything a trained ranker depends on, as JSON types: settings, data, and the hash of every feature file.

    Args:
        config: the complete configuration as plain types (`Config.plain`).
        data_digest: `Dataset.digest()`.
        code: the source file of a user's ranker (`Config.code`), whose content counts as a setting.

    Raises:
        FileNotFoundError: a feature file is missing.
    """
    settings = {key: value for key, value in config.items() if key not in INCIDENTAL}
    if code is not None:
        settings["code"] = hashlib.sha256(code.read_bytes()).hexdigest()
    features = {modality: _file_hash(Path(path)) for modality, path in (config.get("features") or {}).items()}
    # Through JSON and back, so that tuples and lists compare equal after reading.
    return json.loads(json.dumps({"settings": settings, "data": data_digest, "features": features}, default=str))


def _file_hash(path: Path) -> str:
    """Hash of a feature table and of its file of item tokens, if it has one."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no feature file {path}; encode the catalogue first")
    return hashlib.sha256(b"".join(file.read_bytes() for file in feature_files(path))).hexdigest()


def differences(saved: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Differences between the identity in a checkpoint and the current one, one phrase each."""
    phrases = []
    if saved.get("data") != current["data"]:
        phrases.append("the interactions or the catalogue")
    for part, name in (("features", "the features"), ("settings", "")):
        before, after = saved.get(part, {}), current[part]
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                value = f": {before.get(key)!r} there, {after.get(key)!r} here" if part == "settings" else ""
                phrases.append(f"{name} {key}{value}".strip())
    return phrases


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON atomically: a killed process leaves the whole file or the previous one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")
    temporary.replace(path)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write safetensors atomically: a killed process leaves the whole file or the previous one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    # safetensors refuses tensors that share memory, such as tied weights: each is copied.
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, temporary)
    temporary.replace(path)


def read_state(folder: Path) -> dict[str, Any] | None:
    """Read the JSON part of a checkpoint; None if it is missing or damaged (which logs a warning)."""
    try:
        return json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        logger.warning("%s is damaged and counts as absent: %s", folder / STATE, error)
        return None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file to the CPU.

    Raises:
        ValueError: the file is missing, cut short, or no safetensors file.
    """
    try:
        return load_file(path)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read ({error}); delete the folder {path.parent} and train the ranker again"
        ) from error


def resume_file(folder: Path, epoch: int) -> Path:
    """The file from which a run that finished `epoch` epochs is resumed; the name ties it to the state."""
    return folder / f"resume-{epoch}.safetensors"


def ranker_tensors(ranker: Any) -> dict[str, Tensor]:
    """The weights of a ranker and the tensors that RecBole keeps outside its state_dict (of Pop, EASE, ItemKNN)."""
    tensors = {f"weight.{name}": tensor for name, tensor in ranker.state_dict().items()}
    other = {f"other.{name}": value for name, value in ranker.other_parameter().items()}
    return tensors | {name: value for name, value in other.items() if isinstance(value, Tensor)}


def restore_ranker(ranker: Any, tensors: Mapping[str, Tensor]) -> None:
    """Load what `ranker_tensors` returned into a ranker."""
    ranker.load_state_dict(_with_prefix("weight.", tensors))
    ranker.load_other_parameter({k: v.to(ranker.device) for k, v in _with_prefix("other.", tensors).items()})


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's tensors, named `optimizer.<parameter number>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{number}.{name}": torch.as_tensor(value)
        for number, entries in state.items()
        for name, value in entries.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load what `optimizer_tensors` returned into an optimiser; its parameter groups stay as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _with_prefix("optimizer.", tensors).items():
        number, entry = name.split(".", 1)
        state.setdefault(int(number), {})[entry] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def scaler_tensors(scaler: torch.amp.GradScaler) -> dict[str, Tensor]:
    """The state of a gradient scaler as tensors; empty for a disabled one."""
    return {f"scaler.{name}": torch.tensor(value) for name, value in scaler.state_dict().items()}


def restore_scaler(scaler: torch.amp.GradScaler, tensors: Mapping[str, Tensor]) -> None:
    """Load what `scaler_tensors` returned into a gradient scaler."""
    scaler.load_state_dict({name: tensor.item() for name, tensor in _with_prefix("scaler.", tensors).items()})


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
