"""Weights of foreign models: from a folder or a hub, safetensors only, and a sentence where they are not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def weights_of(what: str, source: str | Path, *, example: str) -> Iterator[None]:
    """Turns a failed ``from_pretrained(source)`` into one sentence that says how to get the weights.

    Args:
        what: the model in words, ``"BLIP-2 captioner"``.
        source: the folder or hub name that is being read.
        example: a hub name that would do.

    Raises:
        FileNotFoundError: ``source`` is neither a complete folder nor a hub name within reach. Pickled weights
            (``pytorch_model.bin``) count as missing.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        place = "the folder is incomplete" if Path(source).is_dir() else "no such folder, nor a hub name within reach"
        raise FileNotFoundError(
            f"no {what} at {source} ({place}: {reason}). Where there is a network, `hf download {example} --local-dir "
            "FOLDER` fetches one; give that FOLDER"
        ) from error
