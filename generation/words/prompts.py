"""Prompts p_g (eq. 7) and p_k (eq. 6): text files that a user can replace."""

from collections.abc import Sequence
from pathlib import Path
from string import Formatter

FOLDER = Path(__file__).parent / "templates"
PREFERENCE = FOLDER / "preference.txt"
KEYWORDS = FOLDER / "keywords.txt"


def read_prompt(file: Path, *, needed: Sequence[Sequence[str]], optional: Sequence[str] = ()) -> str:
    """Read and check the template in a UTF-8 file, for ``str.format``; surrounding white space is removed.

    Args:
        file: the template; a literal brace is written twice, ``{{``.
        needed: groups of fields; the template must have at least one of each group.
        optional: fields that it may have.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no UTF-8 text, a field is missing, unknown or formatted, or a brace stands alone.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no prompt file at {file}")
    try:
        template = file.read_text(encoding="utf-8").strip()
        parsed = list(Formatter().parse(template))  # text that no field follows has the name None
    except UnicodeDecodeError as error:
        raise ValueError(f"the prompt in {file} is no UTF-8 text: {error.reason} at byte {error.start}") from error
    except ValueError as error:
        raise ValueError(f"the prompt in {file} has a lone brace ({error}): write {{{{ for a literal one") from error
    names = [name for _, name, _, _ in parsed if name is not None]
    # As written, so that a conversion or a format ({name!r}, {name:>5000}) is not among the allowed fields.
    written = [
        name + ("!" + conversion if conversion else "") + (":" + spec if spec else "")
        for _, name, spec, conversion in parsed
        if name is not None
    ]
    if missing := [group for group in needed if not any(name in group for name in names)]:
        groups = (" or ".join(f"{{{name}}}" for name in group) for group in missing)
        raise ValueError(f"the prompt in {file} lacks {', '.join(groups)}")
    allowed = [*(name for group in needed for name in group), *optional]
    if unknown := [field for field in written if field not in allowed]:
        known = ", ".join(f"{{{name}}}" for name in allowed)
        raise ValueError(
            f"the prompt in {file} has the unknown field {{{unknown[0]}}}: only {known} can be filled in, "
            "each by its bare name"
        )
    return template


def preference_prompt(file: Path = PREFERENCE) -> str:
    """p_g: ``{keywords}`` are those of the retrieved items, ``{caption}`` is the reference's.

    ``{weighted_keywords}``, beside or in place of the first, adds to each keyword its share of the weights:
    ``red (52 %), thriller (48 %)``.
    """
    return read_prompt(file, needed=(("keywords", "weighted_keywords"), ("caption",)))


def keyword_prompt(file: Path = KEYWORDS) -> str:
    """p_k: ``{caption}`` and ``{text}`` are one item's, ``{n}`` is the most keywords to name."""
    return read_prompt(file, needed=(("caption",),), optional=("text", "n"))


def fill_prompt(template: str, keywords: Sequence[str], caption: str, weights: Sequence[float] | None = None) -> str:
    """p_g of eq. 7, without the [IMG] tokens. Without ``weights`` all keywords weigh the same."""
    weights = weights or [1.0] * len(keywords)
    shares = [f"{word} ({100 * w / sum(weights):.0f} %)" for word, w in zip(keywords, weights, strict=True)]
    return template.format(keywords=", ".join(keywords), weighted_keywords=", ".join(shares), caption=caption)
