"""Parts of the user's own, which a config names by ``package.module:name``: encoders, generators, rewards."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

Part = TypeVar("Part")


def import_named(kind: str, name: str, built_in: Sequence[str]) -> Any:
    """Import what ``package.module:name`` names.

    Args:
        kind: what is named, in words: ``"reward"``.
        name: as it was typed.
        built_in: names of one word that a config may give instead.

    Raises:
        ValueError: the name has another form, its module cannot be imported, or has no such attribute.
    """
    module, colon, attribute = name.partition(":")
    if not (colon and attribute and module) or module.startswith("."):
        near = get_close_matches(name, built_in, n=1)
        hint = (
            f"do you mean {near[0]}?"
            if near
            else f"there are {', '.join(built_in)} and package.module:name of your own"
        )
        raise ValueError(f"there is no {kind} {name!r}: {hint}")
    try:
        imported = import_module(module)
    except ImportError as error:
        hint = "install it, or put its folder on PYTHONPATH"
        raise ValueError(f"the {kind} {name!r} cannot be imported ({error}): {hint}") from error
    except Exception as error:  # the module's own code runs while it is imported
        raise ValueError(
            f"the {kind} {name!r} cannot be imported: {module} raised {type(error).__name__}: {error}"
        ) from error
    try:
        return getattr(imported, attribute)
    except AttributeError as error:
        raise ValueError(f"the {kind} {name!r} is not there: {error}") from error


def call_named(kind: str, name: str, arguments: str, call: Callable[[], Part]) -> Part:
    """Call what the user named, with a sentence for whatever it raises.

    Args:
        kind: what it must give back, in words: ``"a reward"``.
        name: as it was typed.
        arguments: those of the call, in words: ``"(encoder, gallery)"``.
        call: makes the call.

    Raises:
        ValueError: the call raised something.
    """
    try:
        return call()
    except Exception as error:  # the user's code may raise anything
        raise ValueError(
            f"{name} is called with {arguments} and must give back {kind}, but there it raised "
            f"{type(error).__name__}: {error}"
        ) from error


def keywords_for(function: Callable[..., Any], available: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments that a function's signature names; all of them if it takes ``**keywords``."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return dict(available)
    named = {parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY}
    return {keyword: value for keyword, value in available.items() if keyword in named}


def code_of(name: str) -> Path | None:
    """Source file in which ``package.module:name`` is defined, if it has one: a changed file makes another part."""
    module, _, attribute = name.partition(":")
    imported = import_module(module)
    try:  # A package may only hand on what one of its modules defines.
        file = inspect.getsourcefile(inspect.unwrap(getattr(imported, attribute)))
    except (TypeError, OSError, AttributeError):  # neither class nor function
        file = None
    file = file or getattr(imported, "__file__", None)
    return None if file is None else Path(file)
