"""The config of a run: one frozen, strict tree, read from a RecBole YAML file and ``--key=value`` on the command line.

The file is RecBole's: its keys (``model``, ``dataset``, ``learning_rate`` …) pass through untouched as
``Config.recbole``. Beside them stand our own sections, one mapping each; those of the generator are defined beside the
classes that they configure. A key that neither RecBole nor a section knows is an error.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import yaml

from generation.language.config import LanguageConfig
from generation.models import ModelsConfig
from generation.ragar.reflection_config import ReflectionConfig
from generation.systems.pmg.config import PmgConfig
from generation.words.config import WordsConfig
from ragar_rec.config.file import read_tree
from ragar_rec.config.presets import find_config
from ragar_rec.config.recbole_values import value_problems
from ragar_rec.config.schema import build_section, field_types, nearest_key
from ragar_rec.config.sections import (
    BackboneConfig,
    CatalogConfig,
    DiagnosisConfig,
    EvaluationConfig,
    FeaturesConfig,
    GeneratorConfig,
    JudgesConfig,
    PicturesConfig,
)
from ragar_rec.errors import ConfigError
from recsys.feature_files import TABLES
from recsys.features import MODALITIES, modality_problem
from recsys.recbole.keys import known_keys

KnownKeys = Callable[[str], "set[str]"]
"""Name of a ranker -> the RecBole keys that it understands."""


@dataclass(frozen=True)
class Config:
    """The whole config. It is read by :meth:`read` and never changes afterwards."""

    catalog: CatalogConfig = field(default_factory=CatalogConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    pictures: PicturesConfig = field(default_factory=PicturesConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    models: ModelsConfig = field(default_factory=ModelsConfig)
    words: WordsConfig = field(default_factory=WordsConfig)
    language: LanguageConfig = field(default_factory=LanguageConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    reflection: ReflectionConfig = field(default_factory=ReflectionConfig)
    pmg: PmgConfig = field(default_factory=PmgConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    judges: JudgesConfig = field(default_factory=JudgesConfig)
    diagnosis: DiagnosisConfig = field(default_factory=DiagnosisConfig)
    recbole: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """RecBole's own keys as they were typed."""

    @classmethod
    def read(cls, path: Path | str, overrides: Sequence[str] = (), *, known_keys: KnownKeys = known_keys) -> Config:
        """Read a RecBole YAML file, then ``--key=value`` arguments, which win.

        Args:
            path: the YAML file, or the name of a preset (``own``).
            overrides: ``--generator.k=3``, ``--epochs=50`` (the dashes may be missing); values are YAML.
            known_keys: model name -> RecBole's keys for it.

        Raises:
            FileNotFoundError: there is no such file, and no such preset.
            ConfigError: everything that is wrong, at once.
        """
        problems: list[str] = []
        tree, source = read_tree(find_config(path), overrides, problems, sections=tuple(sections()))
        model = str(tree.get("model", "MICRO"))
        own = sections()
        _collect_tables(tree, source)
        _collect_judges(tree, source)
        try:
            # Where RecBole has a key of the same name, the section wins.
            recbole_keys = known_keys(model) - set(own)
        except ValueError as error:  # Without the ranker nobody knows which of the other keys are valid.
            raise ConfigError([*problems, f"`model` {source.get('model', 'by default')}: {error}"]) from error
        valid = {*recbole_keys, *(f"{section}.{name}" for section, kind in own.items() for name in field_types(kind))}
        for key, place in source.items():
            # A dotted key below one of RecBole's (eval_args.order) is RecBole's to check.
            if key not in valid and key.partition(".")[0] not in recbole_keys:
                problems.append(f"unknown key `{key}` {place}: the nearest valid key is `{nearest_key(key, valid)}`")
        recbole = {key: value for key, value in tree.items() if key not in own}
        problems.extend(value_problems(model, recbole, source))
        built: dict[str, Any] = {}
        for section, kind in own.items():
            values = {name: value for name, value in tree.get(section, {}).items() if f"{section}.{name}" in valid}
            places = {name: source.get(f"{section}.{name}", "on the command line") for name in values}
            built[section] = build_section(kind, values, problems, path=section, source=places)
        generator, training = built["generator"], built["reflection"]
        if problem := generator.strength_problem("reflection.steps", training.steps):
            problems.append(f"`generator` {source.get('generator.strength', 'by default')}: {problem}")
        if generator.text_to_image and built["models"].backbone is None and built["backbone"].task == "edit":
            problems.append(
                f"`generator.text_to_image` {source['generator.text_to_image']}: the small backbone edits a reference "
                "and cannot draw from noise alone: write backbone.task: image-to-image, or name models.backbone"
            )
        problems.extend(_reward_problems(training.ranker, built["judges"], source))
        if problems:
            raise ConfigError(problems)
        return cls(**built, recbole=MappingProxyType({"model": model} | recbole))

    def as_dict(self) -> dict[str, Any]:
        """The whole tree as plain data: the sections by name, and RecBole's keys under ``recbole``."""
        tree: dict[str, Any] = {section: asdict(getattr(self, section)) for section in sections()}
        return tree | {"recbole": copy.deepcopy(dict(self.recbole))}

    def write(self, path: Path) -> None:
        """Write the whole tree, defaults included, as YAML that :meth:`read` takes."""
        tree = self.as_dict()
        recbole = tree.pop("recbole")
        path.write_text(yaml.safe_dump(_plain({**recbole, **tree}), sort_keys=False), encoding="utf-8")


def sections() -> dict[str, type]:
    """Our own sections: name -> dataclass. They are the fields of :class:`Config` except ``recbole``."""
    return {entry.name: field_types(Config)[entry.name] for entry in fields(Config) if entry.name != "recbole"}


def _collect_tables(tree: dict[str, Any], source: dict[str, str]) -> None:
    """Put ``features: {audio: audio.npy}`` into ``features.files``.

    Only where the value is the name of a feature table: any other unknown key stays one, and so does what looks like a
    misspelling of ``image`` or ``text``.
    """
    features: dict[str, Any] = tree.get("features", {})
    for name in [name for name in features if name not in field_types(FeaturesConfig)]:
        is_table = str(features[name]).endswith(TABLES) and modality_problem(name) is None
        if is_table and not get_close_matches(name, MODALITIES):
            files = features.setdefault("files", {})
            source.setdefault("features.files", source.pop(f"features.{name}"))
            if isinstance(files, dict):
                features["files"] = {**files, name: features.pop(name)}


def _collect_judges(tree: dict[str, Any], source: dict[str, str]) -> None:
    """Put ``judges: {vbpr: {model: VBPR}}`` into ``judges.rankers``."""
    judges: dict[str, Any] = tree.get("judges", {})
    for name in [name for name in judges if name not in field_types(JudgesConfig)]:
        rankers = judges.setdefault("rankers", {})
        for key in [key for key in source if f"{key}.".startswith(f"judges.{name}.")]:
            source.setdefault("judges.rankers", source.pop(key))
        if isinstance(rankers, dict):
            named, known = judges.pop(name), cast("dict[str, Any]", rankers).get(name)
            # A key on the command line changes a judge of the file, and replaces none.
            if isinstance(known, dict) and isinstance(named, dict):
                named = {**cast("dict[str, Any]", known), **cast("dict[str, Any]", named)}
            judges["rankers"] = {**rankers, name: named}


def _reward_problems(ranker: str | None, judges: JudgesConfig, source: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence if ``reflection.ranker`` is no judge."""
    if ranker is None or ranker in judges.rankers:
        return
    if judges.rankers:
        hint = f"the nearest of judges is {nearest_key(ranker, judges.rankers)}"
    else:
        hint = f"judges names none; write judges: {{{ranker}: {{model: VBPR, image_encoder: hog}}}}"
    yield f"`reflection.ranker` {source['reflection.ranker']}: there is no ranker {ranker!r} to reward: {hint}"


def _plain(value: Any) -> Any:
    """The value with lists in place of tuples: YAML has no tuples."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in cast("Iterable[Any]", value)]
    return value
