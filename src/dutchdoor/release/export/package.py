"""Writes a package: the one place where plaintext weights are written to a disk.

Each slot is decrypted, verified and written; no file is ever whole in this program's memory. The
folder appears under its name when everything is in it and signed. What was begun and not finished
is removed, as far as a file system removes anything: put the target where that is good enough.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from dutchdoor.errors import Invalid, Refused, Unavailable
from dutchdoor.release.export.signing import SIGNATURE_NAME, PackageKey, SignedFiles

__all__ = ["OWN_FOLDER", "PlainFiles", "Written", "model_files", "write_package"]

OWN_FOLDER = "dutchdoor"
_MODEL_FILES = (
    "*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json",
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "*.spm", "*.tiktoken",
    "chat_template.jinja", "chat_template.json", "preprocessor_config.json",
)  # fmt: skip


class PlainFiles(Protocol):
    """An opened bundle, as far as a package needs it; `weights.reader.SealedBundle` is one."""

    def names(self) -> Sequence[str]: ...

    def stream(self, name: str) -> Iterator[memoryview]:
        """The plain file in pieces, each verified; a piece is good until the next is asked for."""
        ...


class Written(NamedTuple):
    """A package that is in place. left_out: files of the bundle that are no part of a model."""

    files: tuple[str, ...]
    left_out: tuple[str, ...]


def model_files(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Those of a bundle's files that are a model's, and the others, which stay inside."""
    ours: list[str] = []
    others: list[str] = []
    for name in names:
        is_ours = "/" not in name and any(fnmatch.fnmatchcase(name, p) for p in _MODEL_FILES)
        (ours if is_ours else others).append(name)
    return ours, others


def write_package(
    target: Path, name: str, plain: PlainFiles, beside: Mapping[str, bytes], key: PackageKey
) -> Written:
    """Write the model's files of `plain` and those `beside`, signed, to `target`.

    Call it only once the entry `package_exported` is durable. beside: small files by path, among
    them cards, licence and decision. key: signs all of it.
    Raises Refused: there is something at `target`. Raises Tampered: a slot of the bundle was
    changed. Raises Unavailable: the disk. Nothing stays at `target` then.
    """
    if os.path.lexists(target):
        message = f"there is something at {target}"
        raise Refused(message, code="target_exists", hint="name a folder that does not exist yet")
    ours, others = model_files(plain.names())
    if clash := sorted({*ours, SIGNATURE_NAME} & set(beside)):
        raise Invalid(f"two files would be called {clash[0]}", code="bad_package")
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        digests = {path: _write(draft / path, [data]) for path, data in beside.items()}
        for file in ours:
            with contextlib.closing(plain.stream(file)) as pieces:  # type: ignore[type-var]
                digests[file] = _write(draft / file, pieces)
        _write(draft / SIGNATURE_NAME, [key.sign(SignedFiles(name, digests))])
        draft.rename(target)
    except OSError as error:
        message = f"the package cannot be written: {error.strerror}"
        hint = "the entry stands, the package does not; export again"
        raise Unavailable(message, code="package_not_written", hint=hint) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Written(tuple(sorted([*digests, SIGNATURE_NAME])), tuple(others))


def _write(path: Path, pieces: Iterable[bytes | memoryview]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    hasher = hashlib.sha256()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o644), "wb") as file:
        for piece in pieces:
            hasher.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return hasher.hexdigest()
