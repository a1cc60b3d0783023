"""A ranker on disk: weights as safetensors, the rest as JSON, and a refusal when they belong to something else."""

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

# Where and how fast a ranker is trained or evaluated does not change what it is.
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
    """What a trained ranker depends on, as JSON types: settings, data, and the content of every feature file.

    Args:
        config: the complete configuration as plain types (`Config.plain`).
        data_digest: `Dataset.digest()`.
        code: the file of a ranker of one's own (`Config.code`), whose content counts as a setting.

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
    """Of a feature table with whatever lies beside it."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no feature file {path}; encode the catalogue first")
    return hashlib.sha256(b"".join(file.read_bytes() for file in feature_files(path))).hexdigest()


def differences(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What differs between two identities, one phrase each."""
    phrases = []
    if saved.get("data") != wanted["data"]:
        phrases.append("the interactions or the catalogue")
    for part, name in (("features", "the features"), ("settings", "")):
        before, after = saved.get(part, {}), wanted[part]
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                value = f": {before.get(key)!r} there, {after.get(key)!r} here" if part == "settings" else ""
                phrases.append(f"{name} {key}{value}".strip())
    return phrases


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write all of it or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")
    temporary.replace(path)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write all of them or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, temporary)
    temporary.replace(path)


def read_state(folder: Path) -> dict[str, Any] | None:
    """The JSON part of a checkpoint; None if there is none, or a damaged one, of which a warning speaks."""
    try:
        return json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        logger.warning("%s is damaged and counts as absent: %s", folder / STATE, error)
        return None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, on the CPU.

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
    """Where a run that finished `epoch` epochs keeps what it needs to go on; the name ties it to the state."""
    return folder / f"resume-{epoch}.safetensors"


def ranker_tensors(ranker: Any) -> dict[str, Tensor]:
    """Weights and, for RecBole's counting models, what they counted."""
    tensors = {f"weight.{name}": tensor for name, tensor in ranker.state_dict().items()}
    counted = {f"other.{name}": value for name, value in ranker.other_parameter().items()}
    return tensors | {name: value for name, value in counted.items() if isinstance(value, Tensor)}


def restore_ranker(ranker: Any, tensors: Mapping[str, Tensor]) -> None:
    """The reverse of `ranker_tensors`."""
    ranker.load_state_dict(_under("weight.", tensors))
    ranker.load_other_parameter({k: v.to(ranker.device) for k, v in _under("other.", tensors).items()})


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's tensors, named `optimizer.<parameter number>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{number}.{name}": torch.as_tensor(value)
        for number, entries in state.items()
        for name, value in entries.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The reverse of `optimizer_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under("optimizer.", tensors).items():
        number, entry = name.split(".", 1)
        state.setdefault(int(number), {})[entry] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def scaler_tensors(scaler: torch.amp.GradScaler) -> dict[str, Tensor]:
    """What scaled gradients need to go on; nothing where they are not scaled."""
    return {f"scaler.{name}": torch.tensor(value) for name, value in scaler.state_dict().items()}


def restore_scaler(scaler: torch.amp.GradScaler, tensors: Mapping[str, Tensor]) -> None:
    """The reverse of `scaler_tensors`."""
    scaler.load_state_dict({name: tensor.item() for name, tensor in _under("scaler.", tensors).items()})


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
