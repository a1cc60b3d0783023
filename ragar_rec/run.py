"""A run: one config, one store, and every stage between raw files and results, each built when first asked for.

Each stage's key holds the part of the config that it reads and the *content* of the stages before it, so that a change
of one pixel or one key runs exactly what depends on it again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from generation.blip import PIXELS
from generation.diffusion import Backbone
from generation.encoders import ImageEncoder, OpenClipEncoder, TimmEncoder, encode_in_blocks
from generation.gallery import Gallery, build_gallery, caption, read_pictures
from generation.hog import HogEncoder
from generation.keywords import KeywordExtractor
from generation.language import LanguageModel, load_language_model, train_language_model
from generation.models import TIMM
from generation.pretrain import PretrainConfig, hold_out, train_dual_encoder, train_unet
from generation.projection import fit_projection
from generation.ragar import Ragar
from generation.reflection import ReflectionLog, reflect, warm_start
from generation.reward import Mixture, Relevance, Reward
from generation.training import Curves, Resume
from ragar_rec.config import Config
from ragar_rec.controls import Table
from ragar_rec.people import People, divide, training_requests
from ragar_rec.reward import RankerReward
from ragar_rec.store import Store, content, content_of, digest, hash_file, hash_files
from recsys.catalog import Catalog, Item, undecodable
from recsys.checkpoint import INCIDENTAL, WEIGHTS
from recsys.counterfactual import Counterfactual
from recsys.datasets import ml_100k, ml_latest, mmrec, own
from recsys.features import FeatureTable, feature_files, text_features
from recsys.recbole import Dataset
from recsys.training import TrainedRanker, load_ranker, train_ranker

EMBEDDED = Path(__file__).parent / "presets" / "ml-100k.yaml"
ENCODER_KEYS = ("image_height", "image_width", "encoder_width", "encoder_layers", "embed_dim", "vocab_size", "context",
                "encoder_steps", "batch_size", "learning_rate", "held_out", "seed")  # fmt: skip
"""What the dual encoder's training reads of the section ``backbone``."""

BACKBONE_KEYS = tuple(entry.name for entry in fields(PretrainConfig) if entry.name != "save_every")
"""What the UNet's training depends on: all of the section but how often it is kept."""

PREPARERS = {"ml-100k": ml_100k, "ml-latest": ml_latest, "own": own, "mmrec": mmrec}
MODALITIES = ("image", "text")


class Run:
    """Stages by name; ``run.ranker`` trains the ranker unless the store has it.

    Args:
        config: the whole tree.
        output: the store stands in ``output/store``, results and report in ``output``.
        data: the raw data set's folder, where the preparer needs one.
        weights: pretrained weights, where the config asks for any.
        progress: show bars with the time left.
    """

    def __init__(
        self, config: Config, output: Path, *, data: Path | None = None, weights: Path | None = None,
        progress: bool = True,
    ) -> None:  # fmt: skip
        self.config, self.output, self.data, self.weights, self.progress = config, output, data, weights, progress
        self.store = Store(output / "store")

    def __reduce__(self) -> tuple[Any, ...]:
        """As another process opens it: the folders of finished stages go along, what is loaded and the bars stay."""
        config = replace(self.config, recbole=dict(self.config.recbole))  # A read-only view cannot be sent.
        found = {name: value for name, value in vars(self).items() if isinstance(value, (Path, str))}
        again = partial(Run, data=self.data, weights=self.weights, progress=False)
        return again, (config, self.output), found

    @classmethod
    def open(
        cls, config: Path | None, overrides: Sequence[str], data: Path | None, weights: Path | None, output: Path
    ) -> Run:
        """From what the command line gave; without a config file, the embedded default."""
        return cls(Config.read(config or EMBEDDED, overrides), output, data=data, weights=weights)

    def stage(self, name: str, keys: Sequence[str], before: Mapping[str, str], build: Any, **how: Any) -> Path:
        """The finished folder of a stage that reads these keys of the config and the contents of these stages."""
        return self.store.run(name, {"config": self.config.part(*keys), "before": dict(before)}, build, **how)

    # ---------------------------------------------------------------- data

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
            **self._words, "pictures": content(self.pictures_folder), "files": self._files_hash,
            "weights": self.store.hash_source(self.config.words.captioner_model),
        }  # fmt: skip
        return self.stage("captions", [], before, build)

    @cached_property
    def keywords_folder(self) -> Path:
        """What an instruction LLM named for each item."""
        words = self.config.words

        def build(to: Path) -> None:
            named = words.extractor(progress=self.progress)(self.items, self.captions)
            (to / "keywords.json").write_text(json.dumps(named, ensure_ascii=False, indent=0), encoding="utf-8")

        before = {
            **self._said, "pictures": content(self.pictures_folder), "prompt": digest(words.p_k()),
            "weights": self.store.hash_source(words.keyword_model),
        }  # fmt: skip
        return self.stage("keywords", ["words.per_item"], before, build)

    @cached_property
    def pictured(self) -> frozenset[str]:
        """Items that have a picture."""
        return frozenset(item.id for item in self.items if item.image is not None)

    # ---------------------------------------------------------------- the small backbone

    def unfinished(self, stage: Path) -> Resume:
        """Where the backbone's trainings are kept until they have ended, in the folder of their stage."""
        return Resume(stage / "unfinished.safetensors", self.config.backbone.save_every)

    @cached_property
    def encoder_folder(self) -> Path:
        """The dual encoder of pictures and words."""

        def build(to: Path) -> None:
            resume = self.unfinished(to)
            with self.watched(to) as log:
                encoder = train_dual_encoder(
                    [self.captions[row] for row in self.learned], self.images[self.learned], self.config.backbone,
                    curves=log.curves, resume=resume, progress=self.progress,
                )  # fmt: skip
            encoder.save_pretrained(to)
            write_curves(log.curves, to)
            resume.delete()

        return self.stage(
            "encoder",
            [f"backbone.{key}" for key in ENCODER_KEYS],
            {"pictures": content(self.pictures_folder), **self._said},
            build,
            resumable=True,
        )

    @property
    def _have(self) -> list[int]:
        have = [row for row, item in enumerate(self.items) if item.image is not None]
        if not have:
            raise ValueError(f"none of the {len(self.items)} items in {self._catalog_file} has a picture that decodes")
        return have

    @property
    def learned(self) -> list[int]:
        """Rows of the pictures that dual encoder, codec and UNet learn from."""
        return self._divided[0]

    @property
    def held_out(self) -> list[int]:
        """Rows of the pictures that they do not see (``backbone.held_out``)."""
        return self._divided[1]

    @cached_property
    def _divided(self) -> tuple[list[int], list[int]]:
        have, backbone = self._have, self.config.backbone
        learned, kept = hold_out(len(have), backbone.held_out, backbone.seed)
        return [have[row] for row in learned], [have[row] for row in kept]

    @property
    def _words(self) -> dict[str, str]:
        return {"catalog": content(self.data_folder)}

    @property
    def _said(self) -> dict[str, str]:
        """What captions depend on beside the pictures."""
        how = self.config.words.captions
        return self._words | {"captions": content(self.captions_folder) if how == "blip2" else how}

    @property
    def _wording(self) -> dict[str, str]:
        """What else is said to the generator, and by whose cosines captions are compared."""
        words = self.config.words
        return {
            "keywords": content(self.keywords_folder) if words.keywords == "llm" else f"tfidf {words.per_item}",
            "prompt": digest(words.p_g()),
            "semantic": self.store.hash_source(words.sentence_model) if words.semantic == "sentences" else "dual",
        }

    @cached_property
    def given(self) -> dict[str, str]:
        """Contents of the models that the config names, and how they run."""
        models = self.config.models
        named = {name: getattr(models, name) for name in ("encoder", "backbone", "language")}
        given = {name: self.store.hash_source(source) for name, source in named.items() if source is not None}
        given["visual"] = models.visual
        if models.visual.startswith(TIMM):
            given["visual"] += hash_file(self.weights_file(models.visual.removeprefix(TIMM)))
        return given | {key: str(value) for key, value in models.place.items()}

    @cached_property
    def encoder(self) -> OpenClipEncoder:
        source = self.config.models.encoder
        encoder = OpenClipEncoder.from_pretrained(self.encoder_folder if source is None else source, name="dual")
        return encoder.to(self.config.models.device)

    @cached_property
    def backbone_folder(self) -> Path:
        """Codec, text encoder and UNet as a diffusers pipeline."""

        def build(to: Path) -> None:
            resume = self.unfinished(to)
            with self.watched(to) as log:
                made = train_unet(
                    [self.captions[row] for row in self.learned], self.images[self.learned], self.encoder,
                    self.config.backbone, curves=log.curves, resume=resume, progress=self.progress,
                )  # fmt: skip
            made.save_pretrained(to)
            write_curves(log.curves, to)
            resume.delete()

        before = {"encoder": content(self.encoder_folder), "pictures": content(self.pictures_folder)}
        return self.stage("backbone", [f"backbone.{key}" for key in BACKBONE_KEYS], before, build, resumable=True)

    @cached_property
    def backbone(self) -> Backbone:
        size = (self.config.backbone.image_height, self.config.backbone.image_width)
        source = self.config.models.backbone
        backbone = Backbone.from_pretrained(self.backbone_folder if source is None else source, size)
        return backbone.to(**self.config.models.place)

    @cached_property
    def language_folder(self) -> Path:
        """The small causal LM."""

        def build(to: Path) -> None:
            curves = Curves()
            texts = [f"{item.text} {said}" for item, said in zip(self.items, self.captions, strict=True)]
            model, tokenizer = train_language_model(texts, self.config.language, curves=curves, progress=self.progress)
            model.save_pretrained(to)
            tokenizer.save_pretrained(to)
            write_curves(curves, to)

        return self.stage("language", ["language"], {"pictures": content(self.pictures_folder), **self._said}, build)

    # ---------------------------------------------------------------- the ranker

    @cached_property
    def image_encoder(self) -> ImageEncoder:
        """Whose features the ranker reads.

        Raises:
            ValueError: the image features were made elsewhere, so that no new picture can be judged by them.
        """
        features = self.config.features
        if "image" in self.given_features:
            raise ValueError(
                f"the image features in {self.given_features['image']} were made elsewhere: rankers can be trained on "
                "them, but new pictures cannot be encoded; let features.image_encoder make them"
            )
        if features.image_encoder == "dual":
            return self.encoder
        size = (features.image_height, features.image_width)
        if features.image_encoder == "hog":
            return HogEncoder(size)
        file = self.weights_file(features.image_encoder)
        return TimmEncoder.from_pretrained(features.image_encoder, file.parent.parent, size=size)

    def weights_file(self, name: str) -> Path:
        """Where the weights of one of timm's models lie.

        Raises:
            FileNotFoundError: they do not.
        """
        if self.weights is None:
            raise FileNotFoundError(f"{name} needs pretrained weights: name their folder by --weights")
        file = self.weights / name / "model.safetensors"
        if not file.is_file():
            raise FileNotFoundError(f"no weights of {name} at {file}: give the folder that holds {name}/ by --weights")
        return file

    @cached_property
    def given_features(self) -> dict[str, Path]:
        """Feature tables made elsewhere, by modality: those of the data set (MMRec's), then those of the config."""
        brought = {name: self._catalog_file.with_name(f"{name}.safetensors") for name in MODALITIES}
        named = {name: getattr(self.config.features, name) for name in MODALITIES}
        return {name: file for name, file in brought.items() if file.is_file()} | {
            name: self._named(file) for name, file in named.items() if file is not None
        }

    def _named(self, file: str) -> Path:
        """A file that the config names: in the data folder if it is there, else as seen from the working directory."""
        in_data = Path(file) if self.data is None else self.data / file
        return in_data if in_data.is_file() else Path(file)

    @cached_property
    def features_folder(self) -> Path:
        """Image features (the catalogue's mean removed, unless they were made elsewhere) and text features."""
        given = self.given_features

        def build(to: Path) -> None:
            for name, file in given.items():
                FeatureTable.read(file).write(to / f"{name}.safetensors")
            if "image" not in given:
                have = self._have
                raw = self._encode_catalogue(have)
                mean = raw.mean(0)
                save_file({"mean": mean}, to / "mean.safetensors")
                ids = tuple(self.items[row].id for row in have)
                FeatureTable(ids, (raw - mean).numpy()).write(to / "image.safetensors")
            if "text" not in given:
                words = text_features(Catalog.read(self._catalog_file), self.config.features.text_dim, seed=0)
                words.write(to / "text.safetensors")

        before = self._words | {f"given {name}": hash_files(feature_files(file)) for name, file in given.items()}
        before |= {} if "image" in given else self._seen
        # What was made elsewhere counts by its content, wherever it lies.
        config = {"features": asdict(replace(self.config.features, image=None, text=None))}
        return self.store.run("features", {"config": config, "before": before}, build)

    @property
    def _seen(self) -> dict[str, str]:
        """Contents of what the image encoder's features depend on."""
        before, encoder = {"pictures": content(self.pictures_folder)}, self.config.features.image_encoder
        if encoder == "dual":
            before["encoder"] = self.given.get("encoder") or content(self.encoder_folder)
        else:  # it reads the files themselves, in which a pixel may differ that is lost in the small pictures
            before["files"] = self._files_hash
        if encoder not in ("dual", "hog"):
            before["weights"] = hash_file(self.weights_file(encoder))
        return before

    def _encode_catalogue(self, have: list[int]) -> Tensor:
        from tqdm.auto import tqdm

        features, parts = self.config.features, []
        same, size = features.image_encoder == "dual", (features.image_height, features.image_width)
        for start in tqdm(range(0, len(have), 64), desc="image features", unit="batch", disable=not self.progress):
            rows = have[start : start + 64]
            pictures = self.images[rows] if same else read_pictures([self.items[row] for row in rows], size)
            parts.append(encode_in_blocks(self.image_encoder, pictures))
        return torch.cat(parts)

    @cached_property
    def recbole(self) -> dict[str, Any]:
        """The ranker's RecBole configuration, complete."""
        features = {name: str(self.features_folder / f"{name}.safetensors") for name in MODALITIES}
        return {**self.config.recbole, "data_path": str(self.data_folder), "features": features}

    @cached_property
    def ranker_folder(self) -> Path:
        """The trained ranker; where it was trained is no part of the key."""
        before = {"data": content(self.data_folder), "features": content(self.features_folder)}
        settings = {key: value for key, value in self.config.recbole.items() if key not in INCIDENTAL}
        return self.store.run(
            "ranker", {"config": {"recbole": settings}, "before": before},
            lambda to: train_ranker(self.recbole, to, progress=self.progress) and None, resumable=True,
        )  # fmt: skip

    @property
    def ranker_content(self) -> str:
        """Of its weights and settings; not of its history, in which the seconds differ from training to training."""
        return content_of(self.ranker_folder, WEIGHTS)

    @cached_property
    def ranker(self) -> TrainedRanker:
        """On the CPU, where the reward lives."""
        return load_ranker({**self.recbole, "use_gpu": False}, self.ranker_folder)

    @property
    def dataset(self) -> Dataset:
        return self.ranker.dataset

    @cached_property
    def view(self) -> Counterfactual:
        return Counterfactual(self.ranker.ranker)

    @cached_property
    def mean_feature(self) -> Tensor:
        return load_file(self.features_folder / "mean.safetensors")["mean"]

    @cached_property
    def reward(self) -> RankerReward:
        return RankerReward(self.view, self.dataset, self.image_encoder, self.mean_feature)

    @property
    def judge(self) -> str:
        """The ranker and the encoder that judge, by name."""
        return f"{self.config.recbole['model']} on {self.image_encoder.name}"

    @property
    def name(self) -> str:
        """The data set as shown, with the notice where its pictures are rendered."""
        dataset = self.dataset_name
        return f"{dataset} (rendered covers)" if self.config.catalog.preparer == "ml-100k" else dataset

    @cached_property
    def original_features(self) -> Table:
        """Image features of every item by internal id."""
        values, there = FeatureTable.read(self.features_folder / "image.safetensors").align(
            [str(token) for token in self.dataset.item_tokens]
        )
        return Table(torch.from_numpy(values), torch.from_numpy(there))

    # ---------------------------------------------------------------- the generator

    @cached_property
    def gallery(self) -> Gallery:
        words = self.config.words
        return build_gallery(
            self.items, self.images, self.captions, self.keywords, self.encoder, words.text_encoder(self.encoder),
            self.config.models.visual_encoder(self.weights),
        )  # fmt: skip

    @property
    def keywords(self) -> KeywordExtractor:
        """By TF-IDF, or what the LLM named once."""
        if self.config.words.keywords == "tfidf":
            return self.config.words.extractor()
        named = json.loads((self.keywords_folder / "keywords.json").read_text(encoding="utf-8"))
        return lambda items, captions: [tuple(words) for words in named]

    @property
    def small_models(self) -> dict[str, Path]:
        """Folders of the small models; those in whose place the config names weights are not learned."""
        stages = {"encoder": "encoder_folder", "backbone": "backbone_folder", "language": "language_folder"}
        return {
            name: getattr(self, stage) for name, stage in stages.items() if getattr(self.config.models, name) is None
        }

    def new_generator(self) -> Ragar:
        """RAGAR on this run's frozen parts, with fresh weights."""
        models, settings = self.config.models, self.config.generator
        model, tokenizer = load_language_model(self.language_folder if models.language is None else models.language)
        language = LanguageModel(
            model, tokenizer, image_tokens=settings.image_tokens, text_rows=settings.text_rows,
            generator=torch.Generator().manual_seed(settings.seed),
        )  # fmt: skip
        made = Ragar(
            self.backbone, language, self.gallery, settings, text_projection=self.text_projection,
            prompt=self.config.words.p_g(),
        )  # fmt: skip
        return made.place(**models.place)

    @cached_property
    def text_projection(self) -> Tensor:
        """From the text encoder's rows to the features of pictures: the dual encoder's own where these are its."""
        if self.config.models.visual == "dual":
            return self.encoder.text_projection.cpu()
        return fit_projection(self.backbone, self.gallery)

    @cached_property
    def people(self) -> People:
        """Who trains the generator and who is kept for judging it."""
        return divide(self.dataset, self.config.reflection.held_out, self.config.reflection.seed)

    @cached_property
    def warm_folder(self) -> Path:
        """The generator before any reward."""
        _ = self.image_encoder  # Said now rather than after the warm start: its pictures cannot be judged.

        def build(to: Path) -> None:
            ragar = self.new_generator()
            with self.watched(to) as log:
                warm_start(ragar, self.config.reflection, log, progress=self.progress)
            ragar.save_pretrained(to)
            write_curves(log.curves, to)

        keys = ["generator", *(f"reflection.{k}" for k in ("warm_start_steps", "warm_start_learning_rate", "seed"))]
        return self.stage("warm-start", keys, self.frozen, build)

    @property
    def frozen(self) -> dict[str, str]:
        """Contents of everything but the trained weights that a generated picture depends on."""
        learned = {name: content(folder) for name, folder in self.small_models.items()}
        return {"pictures": content(self.pictures_folder)} | learned | self.given | self._said | self._wording

    @cached_property
    def generator_folder(self) -> Path:
        """The generator after reflection."""

        def build(to: Path) -> None:
            ragar = self.new_generator()
            ragar.load_trained(load_file(self.warm_folder / "model.safetensors"))
            requests = training_requests(self.dataset, self.people.train, self.pictured, self.config.reflection.seed)
            with self.watched(to) as log:
                reflect(ragar, requests, self.wish, self.config.reflection, log, progress=self.progress)
            ragar.save_pretrained(to)
            write_curves(log.curves, to)
            (to / "log.json").write_text(json.dumps({"silent_groups": log.silent_groups, "groups": log.groups}))

        before = {"warm": content(self.warm_folder), "ranker": self.ranker_content, **self.frozen}
        return self.stage("generator", ["generator", "reflection"], before, build)

    @property
    def wish(self) -> Reward:
        """What reflection works for: the ranker's score, and relevance where the config gives it a weight."""
        if not (weight := self.config.reflection.relevance):
            return self.reward
        relevance = Relevance(self.encoder, self.gallery, self.encoder.encode_texts(self.gallery.captions))
        return Mixture([(1.0, self.reward), (weight, relevance)])

    @contextmanager
    def watched(self, stage: Path) -> Iterator[ReflectionLog]:
        """A log whose curves TensorBoard shows while they grow: ``tensorboard --logdir OUTPUT/tensorboard``.

        They stand under the name that the stage's folder will have, key included, in place of what an earlier attempt
        at the same stage drew.
        """
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and a finished stage needs none

        folder = self.output / "tensorboard" / stage.stem
        shutil.rmtree(folder, ignore_errors=True)
        with SummaryWriter(str(folder)) as writer:

            def tell(name: str, step: int, value: float) -> None:
                writer.add_scalar(name.replace(": ", "/"), value, step)

            yield ReflectionLog(Curves(tell=tell))

    def load_generator(self, folder: Path, **changes: Any) -> Ragar:
        """A saved generator, optionally with other sampling settings."""
        ragar = self.new_generator()
        ragar.load_trained(load_file(folder / "model.safetensors"))
        ragar.config = replace(ragar.config, **changes)
        return ragar

    @cached_property
    def generator(self) -> Ragar:
        return self.load_generator(self.generator_folder)


def write_curves(curves: Curves, folder: Path) -> None:
    """Training curves beside what was trained."""
    (folder / "curves.json").write_text(json.dumps(curves.values))


def read_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What :func:`write_curves` wrote; nothing where nothing was trained."""
    file = folder / "curves.json"
    curves = json.loads(file.read_text()) if file.is_file() else {}
    return {name: [(step, value) for step, value in points] for name, points in curves.items()}
