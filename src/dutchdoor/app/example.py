"""The example model: SmolLM2-135M-Instruct, from an installed package, as an ordinary folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from dutchdoor.errors import Refused
from dutchdoor.runtime.transformers_engine.model_folder import (
    gguf_of_package,
    write_model_folder,
)

__all__ = ["EXAMPLE_NAME", "ensure_example_model", "write_example_model"]

EXAMPLE_NAME = "SmolLM2-135M-Instruct"


def write_example_model(folder: Path) -> None:
    """Write the example model to a new folder.

    Raises Refused: the folder exists. Raises NotFound: the package is not installed.
    """
    if folder.exists():
        message = f"{folder} exists"
        raise Refused(message, code="file_exists", hint="name a folder that does not exist yet")
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    write_model_folder(gguf_of_package(), draft)
    draft.replace(folder)


def ensure_example_model(folder: Path) -> bool:
    """The example model in `folder`, written where it is not there yet; whether it was written.

    Raises NotFound: the package is not installed.
    """
    if (folder / "config.json").is_file():
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_example_model(folder)
    return True
