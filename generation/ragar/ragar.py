"""RAGAR's network, from a description to the preference P_gen (eq. 7-9), and the pictures that are drawn from it.

Eq. 7 is in `language.py`, eq. 8 in `mapper.py`, eq. 9 in `calibrator.py`; :meth:`Ragar.encode` joins them.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from generation.backbone.adapter import takes_rows
from generation.backbone.backbone import Backbone
from generation.checkpoint import require
from generation.gallery import Gallery
from generation.pictures import to_float
from generation.ragar import description, history, saving
from generation.ragar.calibrator import BalanceCalibrator
from generation.ragar.config import RagarConfig
from generation.ragar.language import PROMPT, LanguageModel
from generation.ragar.mapper import ModalMapper
from generation.ragar.preference import Description, Preference
from generation.ragar.taste import Taste
from generation.request import Request
from generation.words.prompts import fill_prompt, preference_prompt


class Ragar(nn.Module):
    """Generates personalised pictures of reference items (Ling et al. 2026, RAGAR).

    Trainable: the [IMG] rows, the projection of E_txt, the mapper and the calibrator, and LoRA on the UNet where it was
    added. Frozen and never changed: the language model, the diffusion pipeline, the gallery's features.

    Args:
        backbone: the Stable Diffusion pipeline that draws, and whose text encoder makes E_g.
        language: the language model with its [IMG] tokens.
        gallery: pictures, captions, keywords and features of all items.
        config: RAGAR's own settings.
        text_projection: from the text encoder's width to that of the gallery's visual features (eq. 13).
        prompt: p_g with its fields, see :func:`generation.words.prompts.preference_prompt`.

    Raises:
        ValueError: gallery, backbone and projection do not fit together.

    Examples:
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
        tokens = backbone.picture_tokens
        if tokens is not None and tokens.dim != gallery.visual.shape[1]:
            advice = "take models.visual: dual, or adapt it by backbone.unet_steps"
            if takes_rows(backbone.pipeline.unet):
                advice = "the adapter was trained on another picture tower"
            raise ValueError(
                f"the backbone makes rows of picture features of width {tokens.dim}, the gallery's are "
                f"{gallery.visual.shape[1]} wide: {advice}"
            )
        if config.text_to_image and backbone.edits:
            raise ValueError("text_to_image: this backbone edits a reference and cannot draw from noise alone")
        self.backbone, self.gallery, self.config = backbone, gallery, config
        self.lora_backbone: Backbone | None = None
        self.taste: Taste | None = None
        self.lora_rank = 0
        self.language = language
        self.text_projection, self.template = text_projection, prompt
        # Layers initialise themselves from torch's global generator: seed it here, and leave it as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.project_text = nn.Linear(language.width, backbone.width)
            self.mapper = ModalMapper(
                language.width,
                gallery.visual.shape[1],
                backbone.width,
                queries=backbone.context if tokens is None else tokens.rows,
                width=config.mapper_width,
                layers=config.mapper_layers,
                adds=tokens is not None,
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
        """Move all parts to a device and precision; see :meth:`generation.backbone.backbone.Backbone.to`.

        The frozen parts take ``dtype``. The trained parts stay float32: a step of 1e-5 is lost in bfloat16's 8 bits.
        The gallery stays where it is.
        """
        for backbone in {self.backbone, self.sampling_backbone}:
            backbone.to(device, dtype, channels_last=channels_last, compiled=compiled)
        self.to(device)
        self.language.model.to(dtype)  # type: ignore[call-overload]
        self.text_projection = self.text_projection.to(device)
        return self

    @property
    def sampling_backbone(self) -> Backbone:
        """The backbone that draws v_gen: the given one or, with LoRA, a copy that shares its frozen weights."""
        return self.backbone if self.lora_backbone is None else self.lora_backbone

    def add_lora(self, rank: int, generator: torch.Generator) -> None:
        """Add LoRA to the UNet for v_gen alone; v_glob, and every other user of the backbone, is drawn without it.

        Raises:
            ValueError: this generator has LoRA already.
        """
        self.lora_backbone, self.lora_rank = self.sampling_backbone.with_lora(rank, generator), rank

    def retrieve(
        self, requests: Sequence[Request], taste: Float[Tensor, "batch visual"] | None = None
    ) -> history.Retrieved:
        """Gallery rows ``(batch, k)``, weights ``(batch, k)`` (0 for padding) and P_ret ``(batch, visual)`` (eq. 2-5).

        ``taste``, where it is known already, is what :meth:`tastes` gives.

        Raises:
            ValueError: a request has an empty history, or the config asks for a taste that nobody was named to know.
        """
        taste = self.tastes(requests) if taste is None else taste
        return history.retrieve(self.gallery, requests, self.config, taste)

    def centred_features(self, rows: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch visual"]:
        """Visual features of gallery rows, less the catalogue's mean."""
        return history.centred_features(self.gallery, rows)

    def describe(
        self, requests: Sequence[Request], retrieved: tuple[Tensor, Tensor, Tensor] | None = None
    ) -> Description:
        """Retrieval, keywords and the texts made from them (eq. 2-6); ``retrieved`` may replace :meth:`retrieve`'s."""
        taste = self.tastes(requests)
        return description.describe(
            requests,
            self.retrieve(requests, taste) if retrieved is None else retrieved,
            gallery=self.gallery,
            config=self.config,
            template=self.template,
            tokenizer=self.backbone.pipeline.tokenizer,
            context=self.backbone.context,
            taste=taste,
        )

    def tastes(self, requests: Sequence[Request]) -> Float[Tensor, "batch visual"] | None:
        """The taste vector of each request's user, see :class:`Taste`; None if the config asks for none.

        Raises:
            ValueError: nobody was named who knows it.
        """
        if not self.config.asks_taste:
            return None
        if self.taste is None:
            asked = "generator.taste" if self.config.taste else "generator.retrieval_taste"
            raise ValueError(f"{asked} asks for the ranker that rewarded this generator: set `taste`")
        return self.taste(requests)

    def prompt(self, keywords: Sequence[str], caption: str, weights: Sequence[float] | None = None) -> str:
        """p_g of eq. 7, without the [IMG] tokens. Without ``weights`` all keywords weigh the same."""
        return fill_prompt(self.template, keywords, caption, weights)

    def encode_preference(
        self, requests: Sequence[Request], retrieved: tuple[Tensor, Tensor, Tensor] | None = None
    ) -> Preference:
        """Eq. 2-9: from requests to P_gen. ``retrieved`` may replace what :meth:`retrieve` finds (for ablations)."""
        return self.encode(self.describe(requests, retrieved))

    def encode(
        self,
        described: Description,
        *,
        overall: Float[Tensor, "batch n width"] | None = None,
        length: int | None = None,
    ) -> Preference:
        """Eq. 7-9: from a description to P_gen.

        Args:
            described: a batch of requests in words and numbers.
            overall: E_g, if it has been encoded before.
            length: tokens to which prompts are padded; by default those of the longest.
        """
        overall = self.backbone.states(described.texts) if overall is None else overall
        row_weights, p_ret = described.row_weights.to(overall), described.retrieved.to(overall)
        text_states, image_states = self.language(described.prompts, length)  # eq. 7
        # E_txt has the language model's width. The projection to the condition's width is ours: eq. 8 has none.
        text = self.project_text(text_states)
        mapped = self.map(image_states, p_ret, described.taste.to(overall))
        calibrated = self.calibrator(torch.cat([text, mapped], dim=1), overall, row_weights)  # eq. 8, eq. 9
        detail = calibrated[:, : text.shape[1] + mapped.shape[1]]
        concatenated = self.calibrator.mode != "residual"
        first = takes_rows(self.backbone.pipeline.unet)
        return Preference(detail, mapped, text, overall, p_ret, described.explanations, concatenated, first)

    def map(
        self,
        image_states: Float[Tensor, "batch tokens width"],
        p_ret: Float[Tensor, "batch visual"],
        taste: Float[Tensor, "batch visual"] | None = None,
    ) -> Float[Tensor, "batch queries width"]:
        """phi_m(E_img) of eq. 8; where the backbone has rows of pictures, added to those of P_ret.

        So the retrieved pictures reach the generator before anything is trained, and without passing through words.
        """
        mapped = self.mapper(image_states, p_ret)
        return mapped if self.backbone.picture_tokens is None else mapped + self.picture_rows(p_ret, taste)

    @property
    def detail_rows(self) -> int:
        """Rows of E_d: prompt states, and the mapper's queries."""
        return self.config.text_rows + len(self.mapper.queries)

    def picture_rows(
        self, p_ret: Float[Tensor, "batch visual"], taste: Float[Tensor, "batch visual"] | None = None
    ) -> Float[Tensor, "batch rows width"]:
        """The backbone's rows of a picture whose feature is as far from the catalogue's mean as pictures are.

        A mean of several pictures' features is nearer to it: P_ret as it is would say a picture of little colour. P_ret
        of 0, where nothing was retrieved, gives the rows of the mean. A taste vector is added with the configured
        length.
        """
        tokens = self.backbone.picture_tokens
        assert tokens is not None
        # 1e-6: far below the length of any mean of features, which is tenths
        direction = p_ret / p_ret.norm(dim=1, keepdim=True).clamp_min(1e-6)
        if taste is not None:
            direction = direction + self.config.taste * taste
        return tokens((direction * self.feature_length + self.gallery.mean_visual.to(p_ret)).to(tokens.mean)).to(p_ret)

    @cached_property
    def feature_length(self) -> float:
        """Root mean square length of the pictures' features, less the catalogue's mean."""
        centred = self.gallery.visual[self.gallery.pictured] - self.gallery.mean_visual
        return float(centred.square().sum(1).mean().sqrt())

    def targets(
        self, rows: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch context width"], Float[Tensor, "batch queries width"]]:
        """What E_d of gallery items should say: the states of their captions, and what the mapper's rows should be.

        These are the rows of the items' own pictures; without picture tokens, the states of their captions too.
        """
        states = self.backbone.states([self.gallery.captions[row] for row in rows.tolist()])
        if self.backbone.picture_tokens is None:
            return states, states
        return states, self.picture_rows(self.centred_features(rows).to(states))

    def render(
        self,
        embeds: Float[Tensor, "n rows dim"],
        requests: Sequence[Request],
        *,
        steps: int | None = None,
        with_grad: bool = False,
        lora: bool = True,
    ) -> Float[Tensor, "n 3 height width"]:
        """Draw pictures from embeddings; the request's seed alone makes the initial noise (common random numbers).

        Of each reference is kept what the gallery's masks say, see :meth:`generation.gallery.Gallery.keep`.

        Args:
            embeds: one condition a request.
            requests: their references are where image-to-image begins.
            steps: denoising steps that are run; the configured ones by default.
            with_grad: keep the gradient from the pictures to the embeddings and to LoRA.
            lora: whether to draw with LoRA, where there is any.
        """
        backbone = self.sampling_backbone if lora else self.backbone
        rows = self.gallery.rows([request.reference for request in requests])
        references, seeds = to_float(self.gallery.images[rows]), [request.seed for request in requests]
        sampling = self.config if steps is None else replace(self.config, steps=steps)
        images = backbone.draw(embeds, references, seeds, sampling, with_grad=with_grad)
        return self.gallery.keep(images, rows)

    @torch.no_grad()
    def generate(self, requests: Sequence[Request]) -> Float[Tensor, "n 3 height width"]:
        """Draw v_gen, in [0, 1], on the CPU: one picture a request."""
        return self.render(self.encode_preference(requests).embeds(), requests).cpu()

    @torch.no_grad()
    def generate_global(
        self, requests: Sequence[Request], *, steps: int | None = None
    ) -> Float[Tensor, "n 3 height width"]:
        """Draw v_glob, on the CPU: from E_g alone, without LoRA, with the initial latent of v_gen."""
        overall = self.backbone.states(self.describe(requests).texts)
        return self.render(self.backbone.without_picture(overall), requests, steps=steps, lora=False).cpu()

    def trained_parts(self) -> dict[str, nn.Parameter]:
        """The parameters that training may change, by name."""
        frozen = {id(parameter) for parameter in self.language.model.parameters()}
        own = {name: value for name, value in self.named_parameters() if id(value) not in frozen}
        return own | self.sampling_backbone.lora

    def save_pretrained(self, folder: Path) -> None:
        """Write ``config.json``, p_g as ``prompt.txt`` and the trained parts as ``model.safetensors``.

        LoRA has a file of its own, see :func:`generation.ragar.saving.save_generator`. No frozen part is written.
        """
        saving.save_generator(
            folder,
            config=self.config,
            prompt=self.template,
            trained=self.trained_parts(),
            backbone=self.sampling_backbone,
            lora_rank=self.lora_rank,
        )

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
        """Read a saved generator onto the frozen parts that it was trained with.

        Raises:
            FileNotFoundError: the folder holds no generator.
            ValueError: its settings or weights are not those of this class, or are pickled.
        """
        require(folder, "prompt.txt")
        prompt = preference_prompt(folder / "prompt.txt")
        config = saving.read_config(folder)
        ragar = cls(backbone, language, gallery, config, text_projection=text_projection, prompt=prompt)
        ragar.load(folder)
        return ragar

    def load(self, folder: Path) -> None:
        """Read a saved generator's trained parts into this one, and its LoRA where it has any.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: it does not read, is pickled, or belongs to a generator of another configuration.
        """
        weights, rank = saving.read_generator(folder)
        self.lora_backbone, self.lora_rank = None, 0
        if rank:
            self.add_lora(rank, torch.Generator())  # its values are overwritten
        self.load_trained(weights)

    def load_trained(self, state: dict[str, Tensor]) -> None:
        """Copy trained parts into this generator, by name.

        Raises:
            ValueError: names or shapes differ from this generator's; then nothing is copied.
        """
        saving.copy_weights(self.trained_parts(), state)
