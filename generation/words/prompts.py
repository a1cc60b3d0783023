"""Prompts p_g (eq. 7) and p_k (eq. 6): text files that a user can replace."""

from collections.abc import Sequence
from pathlib import Path
from string import Formatter

FOLDER = Path(__file__).parent / "templates"
PREFERENCE = FOLDER / "preference.txt"
KEYWORDS = FOLDER / "keywords.txt"


def read_prompt(file: Path, *, needed: Sequence[Sequence[str]], optional: Sequence[str] = ()) -> str:
    """The template in a UTF-8 file, blank space around it removed; ``str.format`` fills its ``{fields}``.

    Args:
        file: the template; a literal brace is written twice, ``{{``.
        needed: fields that must stand in it; of each group at least one.
        optional: fields that may.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no UTF-8 text, a field is missing, unknown or formatted, or a brace stands alone.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no prompt file at {file}")
    try:
        template = file.read_text(encoding="utf-8").strip()
        fields = [(name, form, way) for _, name, form, way in Formatter().parse(template) if name is not None]
    except UnicodeDecodeError as error:
        raise ValueError(f"the prompt in {file} is no UTF-8 text: {error.reason} at byte {error.start}") from error
    except ValueError as error:
        raise ValueError(f"the prompt in {file} has a lone brace ({error}): write {{{{ for a literal one") from error
    written = [name + ("!" + way if way else "") + (":" + form if form else "") for name, form, way in fields]
    if missing := [group for group in needed if not any(field[0] in group for field in fields)]:
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

    ``{weighted_keywords}``, beside or in place of the first, are the same with each one's share of their weights:
    ``red (52 %), thriller (48 %)``.
    """
    return read_prompt(file, needed=(("keywords", "weighted_keywords"), ("caption",)))


def keyword_prompt(file: Path = KEYWORDS) -> str:
    """p_k: ``{caption}`` and ``{text}`` are one item's, ``{n}`` is how many keywords are wanted."""
    return read_prompt(file, needed=(("caption",),), optional=("text", "n"))
