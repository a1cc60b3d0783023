"""What stands before anything is learned: interactions, catalogue, pictures, captions and keywords.

The first of the four layers of a run, each a class that adds stages to the one before: `Prepared`, `SmallModels`,
`Ranked`, and `ragar_rec.experiment.Run`, which is the whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import load_file, save_file
from torch import Tensor

from generation.gallery import caption, read_pictures
from generation.words.blip import PIXELS
from generation.words.keywords import KeywordExtractor
from ragar_rec.config.config import Config
from ragar_rec.store.hashing import digest, hash_files
from ragar_rec.store.store import Store, content
from recsys.catalog import Catalog, Item, undecodable
from recsys.data.preparers import PREPARERS
from recsys.recbole.config import DEFAULTS

EMBEDDED = Path(__file__).parent.parent / "presets" / "ml-100k.yaml"
Layer = TypeVar("Layer", bound="Prepared")


class Prepared:
    """A config, a store, and the stages that need nothing but files and words.

    Args:
        config: the whole tree.
        output: the store stands in ``output/store``, results and report in ``output``.
        data: the raw data set's folder, where the preparer needs one.
        weights: pretrained weights, where the config asks for any.
        progress: show bars with the time left.
    """

    def __init__(
        self,
        config: Config,
        output: Path,
        *,
        data: Path | None = None,
        weights: Path | None = None,
        progress: bool = True,
    ) -> None:
        self.config, self.output, self.data, self.weights, self.progress = config, output, data, weights, progress
        self.store = Store(output / "store")

    def __reduce__(self) -> tuple[Any, ...]:
        """As another process opens it: the folders of finished stages go along, what is loaded and the bars stay."""
        config = replace(self.config, recbole=dict(self.config.recbole))  # A read-only view cannot be sent.
        found = {name: value for name, value in vars(self).items() if isinstance(value, (Path, str))}
        again = partial(type(self), data=self.data, weights=self.weights, progress=False)
        return again, (config, self.output), found

    @classmethod
    def open(
        cls: type[Layer],
        config: Path | None,
        overrides: Sequence[str],
        data: Path | None,
        weights: Path | None,
        output: Path,
    ) -> Layer:
        """From what the command line gave; without a config file, the embedded default."""
        return cls(Config.read(config or EMBEDDED, overrides), output, data=data, weights=weights)

    def stage(self, name: str, keys: Sequence[str], before: Mapping[str, str], build: Any, **how: Any) -> Path:
        """The finished folder of a stage that reads these keys of the config and the contents of these stages."""
        return self.store.run(name, {"config": self.config.part(*keys), "before": dict(before)}, build, **how)

    @property
    def dataset_name(self) -> str:
        """RecBole's key ``dataset``: the name under which the prepared files stand."""
        if "dataset" not in self.config.recbole:
            raise ValueError("the config names no `dataset`: add a line such as `dataset: my-shop`")
        return str(self.config.recbole["dataset"])

    @cached_property
    def data_folder(self) -> Path:
        """Atomic files, catalogue and, for the embedded default, rendered covers."""
        preparer = PREPARERS[self.config.catalog.preparer]
        name = self.dataset_name
        source = {"source": preparer.fingerprint(self.data)}

        def build(to: Path) -> None:
            preparer.prepare(self.data, to, name)

        return self.stage("data", ["catalog", "recbole.dataset"], source, build)

    def check_lists(self) -> None:
        """Refuse lists longer than the catalogue before anything is learned for them.

        Raises:
            ValueError: ``topk``, ``evaluation.k`` or ``evaluation.candidates`` is above the number of items.
        """
        there, settings = len(Catalog.read(self._catalog_file)), self.config.evaluation
        topk = self.config.recbole.get("topk", DEFAULTS["topk"])
        longest = max(topk) if isinstance(topk, Sequence) else topk
        asked = {"topk": longest, "evaluation.k": settings.k, "evaluation.candidates": settings.candidates}
        for name, number in asked.items():
            if number > there:
                raise ValueError(f"{name} asks for lists of {number}, but there are {there} items")

    @cached_property
    def pictures_folder(self) -> Path:
        """Every picture decoded at the generator's size; which ones did not decode."""
        catalog = Catalog.read(self._catalog_file)
        size = (self.config.backbone.image_height, self.config.backbone.image_width)

        def build(to: Path) -> None:
            broken = undecodable(catalog)
            whole = catalog.without_images_of(broken)
            save_file({"images": read_pictures(list(whole), size)}, to / "pictures.safetensors")
            (to / "undecodable.json").write_text(json.dumps(broken))

        keys = ["backbone.image_height", "backbone.image_width"]
        return self.stage("pictures", keys, {"catalog": content(self.data_folder), "files": self._files_hash}, build)

    @cached_property
    def _files_hash(self) -> str:
        """Of all pictures as they lie on disk, those that do not decode among them."""
        return hash_files([item.image for item in Catalog.read(self._catalog_file) if item.image is not None])

    @property
    def _catalog_file(self) -> Path:
        return self.data_folder / self.dataset_name / "catalog.csv"

    @cached_property
    def catalog(self) -> Catalog:
        """The catalogue; a picture that does not decode is a hole."""
        broken = json.loads((self.pictures_folder / "undecodable.json").read_text())
        return Catalog.read(self._catalog_file).without_images_of(broken)

    @cached_property
    def items(self) -> list[Item]:
        return list(self.catalog)

    @cached_property
    def images(self) -> Tensor:
        """(items, 3, height, width) bytes, zeros for holes."""
        return load_file(self.pictures_folder / "pictures.safetensors")["images"]

    @cached_property
    def pictured(self) -> frozenset[str]:
        """Items that have a picture."""
        return frozenset(item.id for item in self.items if item.image is not None)

    @property
    def _have(self) -> list[int]:
        have = [row for row, item in enumerate(self.items) if item.image is not None]
        if not have:
            raise ValueError(f"none of the {len(self.items)} items in {self._catalog_file} has a picture that decodes")
        return have

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """What each item's picture shows (``cap_i``)."""
        if self.config.words.captions == "blip2":
            return tuple(json.loads((self.captions_folder / "captions.json").read_text(encoding="utf-8")))
        return caption(self.items, self.images, self.config.words.captioner())

    @cached_property
    def captions_folder(self) -> Path:
        """BLIP-2's captions, from the pictures' own files: those of the generator's size are too small to read."""

        def build(to: Path) -> None:
            captioner, said = self.config.words.captioner(progress=self.progress), []
            for start in range(0, len(self.items), 256):
                items = self.items[start : start + 256]
                said += caption(items, read_pictures(items, PIXELS), captioner)
            (to / "captions.json").write_text(json.dumps(said, ensure_ascii=False, indent=0), encoding="utf-8")

        before = {
            **self._words,
            "pictures": content(self.pictures_folder),
            "files": self._files_hash,
            "weights": self.store.hash_source(self.config.words.captioner_model),
        }
        return self.stage("captions", [], before, build)

    @property
    def _words(self) -> dict[str, str]:
        return {"catalog": content(self.data_folder)}

    @property
    def _said(self) -> dict[str, str]:
        """What captions depend on beside the pictures."""
        how = self.config.words.captions
        return self._words | {"captions": content(self.captions_folder) if how == "blip2" else how}

    @cached_property
    def keywords_folder(self) -> Path:
        """What an instruction LLM named for each item."""
        words = self.config.words

        def build(to: Path) -> None:
            named = words.extractor(progress=self.progress)(self.items, self.captions)
            (to / "keywords.json").write_text(json.dumps(named, ensure_ascii=False, indent=0), encoding="utf-8")

        before = {
            **self._said,
            "pictures": content(self.pictures_folder),
            "prompt": digest(words.p_k()),
            "weights": self.store.hash_source(words.keyword_model),
        }
        return self.stage("keywords", ["words.per_item"], before, build)

    @property
    def keywords(self) -> KeywordExtractor:
        """By TF-IDF, or what the LLM named once."""
        if self.config.words.keywords == "tfidf":
            return self.config.words.extractor()
        named = json.loads((self.keywords_folder / "keywords.json").read_text(encoding="utf-8"))
        return lambda items, captions: [tuple(words) for words in named]
