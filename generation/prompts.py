"""Prompts p_g (eq. 7) and p_k (eq. 6): text files that a user can replace."""

from collections.abc import Sequence
from pathlib import Path
from string import Formatter

FOLDER = Path(__file__).parent / "templates"
PREFERENCE = FOLDER / "preference.txt"
KEYWORDS = FOLDER / "keywords.txt"


def read_prompt(file: Path, *, needed: Sequence[str], optional: Sequence[str] = ()) -> str:
    """The template in a UTF-8 file, blank space around it removed; ``str.format`` fills its ``{fields}``.

    Args:
        file: the template; a literal brace is written twice, ``{{``.
        needed: fields that must stand in it.
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
    if missing := [name for name in needed if not any(name == field[0] for field in fields)]:
        raise ValueError(f"the prompt in {file} lacks {', '.join(f'{{{name}}}' for name in missing)}")
    if unknown := [field for field in written if field not in (*needed, *optional)]:
        known = ", ".join(f"{{{name}}}" for name in (*needed, *optional))
        raise ValueError(
            f"the prompt in {file} has the unknown field {{{unknown[0]}}}: only {known} can be filled in, "
            "each by its bare name"
        )
    return template


def preference_prompt(file: Path = PREFERENCE) -> str:
    """p_g: ``{keywords}`` are those of the retrieved items, ``{caption}`` is the reference's."""
    return read_prompt(file, needed=("keywords", "caption"))


def keyword_prompt(file: Path = KEYWORDS) -> str:
    """p_k: ``{caption}`` and ``{text}`` are one item's, ``{n}`` is how many keywords are wanted."""
    return read_prompt(file, needed=("caption",), optional=("text", "n"))
