"""RAGAR: retrieval, language side, mapper and calibrator joined into a preference, and the pictures made from it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from generation.backbone.backbone import LORA_FILE, Backbone
from generation.checkpoint import read_notes, read_tensors, require
from generation.gallery import Gallery
from generation.pictures import to_float
from generation.ragar import retrieval
from generation.ragar.calibrator import BalanceCalibrator
from generation.ragar.config import RagarConfig
from generation.ragar.language import PROMPT, LanguageModel
from generation.ragar.mapper import ModalMapper
from generation.ragar.preference import Description, Preference
from generation.request import Explanation, Request
from generation.words.keywords import frequent
from generation.words.prompts import preference_prompt


class Ragar(nn.Module):
    """Personalised pictures of reference items (Ling et al., RAGAR).

    Trainable: the [IMG] rows, the projection of E_txt, the mapper and the calibrator, and LoRA on the UNet where it was
    added. Frozen and never changed: the language model, the diffusion pipeline, the gallery's features.

    Args:
        prompt: p_g with its fields, see :func:`generation.words.prompts.preference_prompt`.

    Example:
        >>> pictures = ragar.generate([Request(user="7", reference="50", history=("1", "2"), seed=0)])
    """

    def __init__(
        self,
        backbone: Backbone,
        language: LanguageModel,
        gallery: Gallery,
        config: RagarConfig,
        *,
        text_projection: Float[Tensor, "width dim"],
        prompt: str = PROMPT,
    ) -> None:
        super().__init__()
        if gallery.images.shape[-2:] != backbone.size:
            raise ValueError(
                f"the gallery's pictures are {tuple(gallery.images.shape[-2:])}, the backbone works at {backbone.size}"
            )
        if text_projection.shape != (backbone.width, gallery.visual.shape[1]):
            raise ValueError(
                f"the text projection leads from width {text_projection.shape[0]} to {text_projection.shape[1]}, but "
                f"the backbone's rows are {backbone.width} wide and the gallery's visual features "
                f"{gallery.visual.shape[1]}: take the dual encoder whose text tower the backbone has, or fit_projection"
            )
        self.backbone, self.gallery, self.config = backbone, gallery, config
        self.adapted: Backbone | None = None
        self.lora_rank = 0
        self.language = language
        self.text_projection, self.template = text_projection, prompt
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.project_text = nn.Linear(language.width, backbone.width)
            self.mapper = ModalMapper(
                language.width,
                gallery.visual.shape[1],
                backbone.width,
                queries=backbone.context,
                width=config.mapper_width,
                layers=config.mapper_layers,
            )
            self.calibrator = BalanceCalibrator(backbone.width, mode=config.calibrator)

    def place(
        self,
        device: str | torch.device,
        dtype: torch.dtype = torch.float32,
        *,
        channels_last: bool = False,
        compiled: bool = False,
    ) -> "Ragar":
        """Where and how it runs; see :meth:`generation.backbone.backbone.Backbone.to`.

        The frozen parts take ``dtype``. What is trained stays float32: a step of 1e-5 is lost in bfloat16's 8 bits.
        The gallery stays where it is.
        """
        for backbone in {self.backbone, self.painter}:
            backbone.to(device, dtype, channels_last=channels_last, compiled=compiled)
        self.to(device)
        self.language.model.to(dtype)  # type: ignore[call-overload]
        self.text_projection = self.text_projection.to(device)
        return self

    @property
    def painter(self) -> Backbone:
        """What draws v_gen: the backbone, or, once there is LoRA, a copy of it that shares its weights."""
        return self.backbone if self.adapted is None else self.adapted

    def add_lora(self, rank: int, generator: torch.Generator) -> None:
        """LoRA on the UNet for v_gen alone: v_glob and all who share the backbone are drawn without it.

        Raises:
            ValueError: this generator has LoRA already.
        """
        self.adapted, self.lora_rank = self.painter.with_lora(rank, generator), rank

    def retrieve(self, requests: Sequence[Request]) -> tuple[Tensor, Tensor, Tensor]:
        """Gallery rows ``(batch, k)``, weights ``(batch, k)`` (0 where nothing is) and P_ret ``(batch, visual)``.

        Raises:
            ValueError: a request has an empty history.
        """
        config, gallery = self.config, self.gallery
        histories = [request.history[-config.history_length :] for request in requests]
        if not all(histories):
            user = next(request.user for request, past in zip(requests, histories, strict=True) if not past)
            raise ValueError(
                f"user {user} has an empty history: a preference needs at least one item before the reference"
            )
        longest = max(map(len, histories))
        rows = torch.zeros(len(requests), longest, dtype=torch.long)
        present = torch.zeros(len(requests), longest, dtype=torch.bool)
        for i, past in enumerate(histories):
            rows[i, : len(past)] = gallery.rows(past)
            present[i, : len(past)] = True
        reference = gallery.semantic[gallery.rows([request.reference for request in requests])]
        scores = retrieval.similarities(reference, gallery.semantic[rows])
        ranking = scores
        if config.history == "random":  # a draw of the request's own, so that its neighbours in the batch don't matter
            draws = [torch.Generator().manual_seed(request.seed) for request in requests]
            ranking = torch.stack([torch.rand(longest, generator=draw) for draw in draws])
        first = config.k if config.history == "next_k" else 0
        chosen, exists = retrieval.select(ranking, present, config.k, first=first)
        weights = retrieval.retrieval_weights(
            scores.gather(1, chosen), exists, temperature=config.temperature, normalization=config.normalization
        )
        picked = rows.gather(1, chosen)
        p_ret = retrieval.aggregate(weights, self.centred(picked), gallery.pictured[picked])
        return picked, weights, p_ret

    def centred(self, rows: Tensor) -> Tensor:
        """Visual features without the catalogue's mean."""
        return self.gallery.visual[rows] - self.gallery.mean_visual

    def encode_preference(
        self, requests: Sequence[Request], retrieved: tuple[Tensor, Tensor, Tensor] | None = None
    ) -> Preference:
        """Everything of eq. 2-9. ``retrieved`` may replace what :meth:`retrieve` finds (for ablations and tests)."""
        return self.encode(self.describe(requests, retrieved))

    def describe(
        self, requests: Sequence[Request], retrieved: tuple[Tensor, Tensor, Tensor] | None = None
    ) -> Description:
        """Retrieval and keywords (eq. 2-6), and the texts that they make."""
        rows, weights, p_ret = retrieved or self.retrieve(requests)
        references = self.gallery.rows([request.reference for request in requests]).tolist()
        explanations, prompts, global_texts, keyword_weights = [], [], [], []
        for i, (request, reference) in enumerate(zip(requests, references, strict=True)):
            found = [(r, w) for r, w in zip(rows[i].tolist(), weights[i].tolist(), strict=True) if w > 0]
            words, counts = self._keywords(request, found)
            caption = self.gallery.captions[reference]
            prompts.append(self.prompt(words, caption, counts))
            global_texts.append(", ".join((caption, *words)))
            keyword_weights.append((words, counts))
            explanations.append(
                Explanation(tuple(self.gallery.ids[r] for r, _ in found), tuple(w for _, w in found), words)
            )
        row_weights = self._row_weights([self.gallery.captions[r] for r in references], keyword_weights, global_texts)
        return Description(tuple(prompts), tuple(global_texts), row_weights, p_ret, tuple(explanations))

    def encode(
        self,
        described: Description,
        *,
        overall: Float[Tensor, "batch n width"] | None = None,
        length: int | None = None,
    ) -> Preference:
        """Eq. 7-9, by the networks.

        Args:
            described: of a batch of requests.
            overall: E_g, where it is at hand.
            length: tokens to which prompts are padded; by default those of the longest.
        """
        overall = self.backbone.states(described.texts) if overall is None else overall
        row_weights, p_ret = described.row_weights.to(overall), described.retrieved.to(overall)
        text_states, image_states = self.language(described.prompts, length)
        text = self.project_text(text_states)
        mapped = self.mapper(image_states, p_ret)
        calibrated = self.calibrator(torch.cat([text, mapped], dim=1), overall, row_weights)
        detail = calibrated[:, : text.shape[1] + mapped.shape[1]]
        concatenated = self.calibrator.mode != "residual"
        return Preference(detail, mapped, text, overall, p_ret, described.explanations, concatenated)

    def prompt(self, keywords: Sequence[str], caption: str, weights: Sequence[float] | None = None) -> str:
        """p_g of eq. 7, without the [IMG] tokens; keywords without ``weights`` weigh the same."""
        weights = weights or [1.0] * len(keywords)
        shares = [f"{word} ({100 * w / sum(weights):.0f} %)" for word, w in zip(keywords, weights, strict=True)]
        return self.template.format(keywords=", ".join(keywords), weighted_keywords=", ".join(shares), caption=caption)

    def reference_states(self, requests: Sequence[Request]) -> Float[Tensor, "batch context width"]:
        """The text encoder's states of the references' captions, the target of eq. 14."""
        rows = self.gallery.rows([request.reference for request in requests]).tolist()
        return self.backbone.states([self.gallery.captions[row] for row in rows])

    def _keywords(self, request: Request, found: list[tuple[int, float]]) -> tuple[tuple[str, ...], tuple[float, ...]]:
        if self.config.keywords_from == "retrieved":
            rows, weights = [r for r, _ in found], [w for _, w in found]
        else:
            rows = self.gallery.rows(request.history[-self.config.history_length :]).tolist()
            weights = [1 / len(rows)] * len(rows)
        return frequent([self.gallery.keywords[r] for r in rows], weights, self.config.n_keywords)

    def _row_weights(
        self, captions: Sequence[str], keywords: Sequence[tuple[Sequence[str], Sequence[float]]], texts: Sequence[str]
    ) -> Float[Tensor, "batch n"]:
        """A weight for each row of E_g: 1 for the reference's caption, its frequency for a keyword, 0 for padding."""
        tokenizer, context = self.backbone.pipeline.tokenizer, self.backbone.context
        weights = torch.zeros(len(texts), context)
        for i, (caption, (words, counts)) in enumerate(zip(captions, keywords, strict=True)):
            row = [1.0] * (1 + len(tokenizer(caption, add_special_tokens=False).input_ids))
            for word, count in zip(words, counts, strict=True):
                row += [count] * len(tokenizer(", " + word, add_special_tokens=False).input_ids)
            row = [*row, 1.0][:context]
            weights[i, : len(row)] = torch.tensor(row)
        return weights

    def negative(self, like: Float[Tensor, "batch rows width"]) -> Float[Tensor, "batch rows width"]:
        """The empty prompt's states, repeated to the same number of rows (guidance needs equal shapes)."""
        empty = self.backbone.empty
        times = -(-like.shape[1] // empty.shape[1])
        return empty.repeat(1, times, 1)[:, : like.shape[1]].expand(len(like), -1, -1)

    def render(
        self,
        embeds: Float[Tensor, "n rows dim"],
        requests: Sequence[Request],
        *,
        steps: int | None = None,
        with_grad: bool = False,
        lora: bool = True,
    ) -> Float[Tensor, "n 3 height width"]:
        """Pictures from ready embeddings; the request's seed alone makes the initial noise (common random numbers).

        ``with_grad`` keeps the gradient from the pictures to the embeddings and to LoRA. ``lora=False`` draws without.
        """
        config = self.config
        references = to_float(self.gallery.images[self.gallery.rows([request.reference for request in requests])])
        return (self.painter if lora else self.backbone).sample(
            embeds,
            self.negative(embeds),
            None if config.text_to_image else references,
            [request.seed for request in requests],
            steps=steps or config.steps,
            strength=config.strength,
            guidance_scale=config.guidance_scale,
            with_grad=with_grad,
        )

    @torch.no_grad()
    def generate(self, requests: Sequence[Request]) -> Float[Tensor, "n 3 height width"]:
        """v_gen, in [0, 1], on the CPU: one picture a request."""
        return self.render(self.encode_preference(requests).embeds(), requests).cpu()

    @torch.no_grad()
    def generate_global(
        self, requests: Sequence[Request], *, steps: int | None = None
    ) -> Float[Tensor, "n 3 height width"]:
        """v_glob, on the CPU: the same reference text and the same initial latent, from E_g alone, without LoRA."""
        return self.render(self.encode_preference(requests).overall, requests, steps=steps, lora=False).cpu()

    def trained_parts(self) -> dict[str, nn.Parameter]:
        """The parameters that training may change, by name."""
        frozen = {id(parameter) for parameter in self.language.model.parameters()}
        own = {name: value for name, value in self.named_parameters() if id(value) not in frozen}
        return own | self.painter.lora

    def save_pretrained(self, folder: Path) -> None:
        """``config.json``, p_g as ``prompt.txt`` and the trained parts as ``model.safetensors``.

        LoRA has a file of its own, :data:`generation.backbone.backbone.LORA_FILE`, which diffusers reads too; its rank stands
        in the other's header. The frozen parts stay where they came from.
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(asdict(self.config), indent=1))
        (folder / "prompt.txt").write_text(self.template, encoding="utf-8")
        state, lora = self.trained_parts(), self.painter.lora
        own = {name: value.detach().clone() for name, value in state.items() if name not in lora}
        save_file(own, folder / "model.safetensors", {"lora_rank": str(self.lora_rank)} if lora else None)
        (folder / LORA_FILE).unlink(missing_ok=True)
        if lora:
            self.painter.save_lora(folder)

    @classmethod
    def from_pretrained(
        cls,
        folder: Path,
        backbone: Backbone,
        language: LanguageModel,
        gallery: Gallery,
        *,
        text_projection: Float[Tensor, "width dim"],
    ) -> "Ragar":
        """The trained parts on the frozen ones they were trained with.

        Raises:
            FileNotFoundError: the folder holds no generator.
            ValueError: its settings or weights are none of this class's, or pickled.
        """
        require(folder, "prompt.txt")
        prompt = preference_prompt(folder / "prompt.txt")
        config = RagarConfig.read(folder)
        made = cls(backbone, language, gallery, config, text_projection=text_projection, prompt=prompt)
        made.load(folder)
        return made

    def load(self, folder: Path) -> None:
        """Put a saved generator's trained parts in place, and its LoRA where it has any.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: it does not read, is pickled, or belongs to a generator of another configuration.
        """
        file = folder / "model.safetensors"
        state = read_tensors(file)
        self.adapted, self.lora_rank = None, 0
        if rank := read_notes(file).get("lora_rank"):
            self.add_lora(int(rank), torch.Generator())
            state |= read_tensors(folder / LORA_FILE)
        self.load_trained(state)

    def load_trained(self, state: dict[str, Tensor]) -> None:
        """Put trained parts in place.

        Raises:
            ValueError: names or shapes differ from this generator's.
        """
        mine = self.trained_parts()
        differing = sorted(mine.keys() ^ state.keys()) or [n for n in mine if mine[n].shape != state[n].shape]
        if differing:
            raise ValueError(
                f"the saved generator was made with another configuration: {', '.join(differing[:3])} differ"
            )
        with torch.no_grad():
            for name, value in state.items():
                mine[name].copy_(value)
