"""What of a model's folder is sealed: every file, once it is found safe to seal."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dutchdoor.errors import Invalid, NotFound, Refused
from dutchdoor.weights.format import SIZE_BYTES_MAX
from dutchdoor.weights.model import SealLimits
from dutchdoor.weights.tensors import HEADER_BYTES_MAX, LENGTH_BYTES, parse_tensors

__all__ = ["SourceFile", "read_safetensors_header", "scan_folder"]

_PICKLE_SUFFIXES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}
_PICKLE_PROTOCOLS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_SNIFF_BYTES = 4_096


@dataclass(frozen=True)
class SourceFile:
    """One plain file to seal. name: its path in the folder, with `/`. size: bytes."""

    name: str
    path: Path
    size: int
    modified_ns: int


def scan_folder(source: Path, limits: SealLimits | None = None) -> tuple[SourceFile, ...]:
    """Every file below `source`, by name.

    Raises NotFound: no such folder. Raises Refused: a link out of the folder, a pickle, or
    anything that is no plain file. Raises Invalid: no files, too many, or a name out of bounds.
    """
    limits = limits or SealLimits()
    if not source.is_dir():
        message = f"there is no folder {source}"
        raise NotFound(message, code="no_model_folder", hint="name the model's folder")
    root = source.resolve()
    found: list[SourceFile] = []
    for folder, names, files in os.walk(root, onerror=_raise):
        names.sort()
        for name in names:
            _check_folder(Path(folder, name), root)
        for name in sorted(files):
            found.append(_source_file(Path(folder, name), root, limits))
            if len(found) > limits.files_max:
                message = f"more than {limits.files_max} files"
                raise Invalid(message, code="too_many_files", hint="seal the model alone")
    if not found:
        message = f"there are no files in {source}"
        raise Invalid(message, code="empty_folder", hint="name the model's folder")
    return tuple(sorted(found, key=lambda file: file.name))


def read_safetensors_header(file: BinaryIO, source: SourceFile) -> str | None:
    """The header's text where the file is named `.safetensors`, else None.

    Raises Invalid: it is named so and is none.
    """
    if not source.name.endswith(".safetensors"):
        return None
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if not 0 < length <= min(HEADER_BYTES_MAX, source.size - LENGTH_BYTES):
        message = f"{source.name} is not a safetensors file"
        raise Invalid(message, code="bad_safetensors", hint="write the weights again")
    try:
        text = file.read(length).decode()
    except UnicodeDecodeError as error:
        message = f"{source.name} is not a safetensors file"
        raise Invalid(message, code="bad_safetensors", hint="write it again") from error
    parse_tensors(text, source.size - LENGTH_BYTES - length)
    return text


def _check_folder(path: Path, root: Path) -> None:
    relative = path.relative_to(root)
    if path.is_symlink():
        # os.walk does not follow it: what lies behind would be left out silently.
        raise _unsafe(f"{relative} is a link to a folder", "copy the folder with: cp -rL")
    if path.name == ".git":
        raise _unsafe(f"{relative} is a repository", "seal a copy without .git")


def _source_file(path: Path, root: Path, limits: SealLimits) -> SourceFile:
    relative = path.relative_to(root)
    name = relative.as_posix()
    _check_name(name, limits)
    if not path.resolve().is_relative_to(root):
        # Sealing what a link chooses could seal, and later serve, any file of this machine.
        raise _unsafe(f"{name} is a link out of the folder", "copy the folder with: cp -rL")
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise _unsafe(f"{name} is no plain file", "remove it from the folder")
    if status.st_size > SIZE_BYTES_MAX:
        raise Invalid(f"{name} is too large", code="file_too_large", hint="shard the weights")
    if path.suffix.lower() in _PICKLE_SUFFIXES or _is_pickle(path):
        hint = "pickles run code when they are read: convert the weights to safetensors"
        raise _unsafe(f"{name} is a pickle", hint)
    return SourceFile(name, path, status.st_size, status.st_mtime_ns)


def _is_pickle(path: Path) -> bool:
    if path.suffix == ".safetensors":
        return False
    with path.open("rb") as file:
        start = file.read(_SNIFF_BYTES)
    return start.startswith(_PICKLE_PROTOCOLS) or (
        start.startswith(b"PK\x03\x04") and b"data.pkl" in start
    )


def _check_name(name: str, limits: SealLimits) -> None:
    try:
        length = len(name.encode())
    except UnicodeEncodeError as error:
        raise _bad_name() from error
    if length > limits.name_bytes_max or not name.isprintable() or "\\" in name:
        raise _bad_name()


def _bad_name() -> Invalid:
    message = "a file's name is too long or holds characters that do not print"
    return Invalid(message, code="unsafe_name", hint="rename the file")


def _unsafe(message: str, hint: str) -> Refused:
    return Refused(message, code="unsafe_file", hint=hint)


def _raise(error: OSError) -> None:
    message = "a folder of the model cannot be read"
    raise Refused(message, code="unsafe_file", hint="check its permissions") from error
