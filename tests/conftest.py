"""What tests of all rooms share: the real model as a folder, converted once a checkout."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

# Two cores are shared by whole test runs; more threads make them slower, not faster.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

CACHE = Path(__file__).parent.parent / ".cache"


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """SmolLM2-135M-Instruct as a Hugging Face folder with bfloat16 safetensors."""
    from dutchdoor.runtime.transformers_engine.model_folder import (
        gguf_of_package,
        write_model_folder,
    )

    folder = CACHE / "smollm2-135m-instruct"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "smollm2-135m-instruct.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            fresh = CACHE / "smollm2-135m-instruct.part"
            shutil.rmtree(fresh, ignore_errors=True)
            write_model_folder(gguf_of_package(), fresh)
            fresh.rename(folder)
    return folder


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests marked `anyio` run on asyncio, as the servers do."""
    return "asyncio"
