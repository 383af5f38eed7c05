"""A model of the Hugging Face Hub, fetched to be sealed: the weights' one door to its library.

A commit is fixed first and everything is of that commit. Only what determines an inference is
fetched: safetensors, and texts such as configuration, tokenizer and licence. Pickles, code and
other forms of the same weights stay where they are.
"""

from __future__ import annotations

import glob
import hashlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from dutchdoor.errors import Invalid, NotFound, Refused, Tampered, Unavailable

__all__ = ["HUB_PREFIX", "HubModel", "HubName", "choose_files", "fetch_model", "parse_hub_name"]

HUB_PREFIX = "hf:"
_PART = r"[A-Za-z0-9][\w.-]{0,95}"
_NAME = re.compile(rf"hf:({_PART})/({_PART})(?:@([A-Za-z0-9][\w./-]{{0,127}}))?", re.ASCII)
_KEPT = {".safetensors", ".json", ".jinja", ".txt", ".model", ".md"}
_KEPT_NAMES = ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY")
_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".ckpt"}
_FOLDERS_MAX = 4
_READ_BYTES = 1 << 20


class HubName(NamedTuple):
    """`hf:ORG/NAME`, with `@REVISION` where one is named: a branch, a tag or a commit."""

    repository: str
    revision: str | None


@dataclass(frozen=True)
class HubModel:
    """A model that was fetched. commit: 40 digits. licence: as its card says, or empty.

    left_out: files of the repository that were not fetched.
    """

    repository: str
    commit: str
    licence: str
    files: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def origin(self) -> str:
        """`hf:ORG/NAME@COMMIT`."""
        return f"{HUB_PREFIX}{self.repository}@{self.commit}"


class _Row(NamedTuple):
    """A file of a repository. sha256: of its bytes where the hub knows it, else empty."""

    name: str
    sha256: str


def parse_hub_name(text: str) -> HubName:
    """The name in `hf:ORG/NAME[@REVISION]`.

    Raises Invalid: another form.
    """
    found = _NAME.fullmatch(text)
    if found is None:
        raise Invalid("not a model of the hub", code="bad_hub_name", hint="write hf:ORG/NAME")
    organisation, name, revision = found.groups()
    return HubName(f"{organisation}/{name}", revision)


def fetch_model(name: HubName, folder: Path, endpoint: str | None = None) -> HubModel:
    """The model's files in `folder`, all of one commit; what is there already is not fetched again.

    endpoint: of the hub; None for the library's own setting (HF_ENDPOINT).
    Raises NotFound: no such model or revision, or it is not shown to this account. Raises Refused:
    its weights are pickles. Raises Invalid: no weights. Raises Tampered: a file is not what the
    hub says. Raises Unavailable: the hub cannot be reached, or its library is not installed.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        hint = "install dutchdoor[report], or seal a folder"
        message = "huggingface_hub is not installed"
        raise Unavailable(message, code="no_hub", hint=hint) from error
    try:
        api = huggingface_hub.HfApi(endpoint=endpoint)
        info = api.model_info(name.repository, revision=name.revision, files_metadata=True)
        rows = [_Row(file.rfilename, _sha256_of(file)) for file in info.siblings or []]
        chosen = choose_files([row.name for row in rows])
        huggingface_hub.snapshot_download(
            name.repository,
            revision=info.sha,
            local_dir=folder,
            allow_patterns=[glob.escape(file) for file in chosen],
            endpoint=endpoint,
            max_workers=2,
        )
    except (Invalid, Refused):
        raise
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        message = f"the hub shows no model {name.repository} to this account"
        hint = "check the name and revision; a gated model needs HF_TOKEN in the environment"
        raise NotFound(message, code="no_hub_model", hint=hint) from error
    except Exception as error:
        # The library lets through whatever its HTTP client raises; none of it is an answer.
        hint = "check the network and HF_ENDPOINT, or seal a folder that is here already"
        message = "the hub cannot be reached"
        raise Unavailable(message, code="hub_unavailable", hint=hint) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # The library's own notes.
    _check_files(folder, [row for row in rows if row.name in set(chosen)])
    kept = set(chosen)
    left_out = tuple(sorted(row.name for row in rows if row.name not in kept))
    return HubModel(name.repository, str(info.sha), _licence_of(info), chosen, left_out)


def choose_files(names: Sequence[str]) -> tuple[str, ...]:
    """Which files of a repository are fetched, sorted.

    Raises Refused: there are pickled weights and no safetensors. Raises Invalid: no weights at all.
    """
    chosen = tuple(sorted(name for name in names if _is_kept(name)))
    if any(name.endswith(".safetensors") for name in chosen):
        return chosen
    if any(PurePosixPath(name).suffix.lower() in _PICKLES for name in names):
        hint = "pickles run code when they are read: convert the weights to safetensors, elsewhere"
        raise Refused("the model's weights are pickles", code="unsafe_file", hint=hint)
    hint = "name a model with safetensors"
    raise Invalid("the repository holds no safetensors", code="no_weights", hint=hint)


def _is_kept(name: str) -> bool:
    path = PurePosixPath(name)
    sound = not path.is_absolute() and ".." not in path.parts and len(path.parts) <= _FOLDERS_MAX
    hidden = any(part.startswith(".") for part in path.parts)
    if not sound or hidden or path.parts[0] in {"onnx", "original", "openvino", "gguf"}:
        return False
    if name.endswith(".bin.index.json"):
        return False
    return path.suffix in _KEPT or path.name.upper().startswith(_KEPT_NAMES)


def _sha256_of(file: Any) -> str:
    value = file.lfs["sha256"] if file.lfs else ""
    return value if isinstance(value, str) else ""


def _check_files(folder: Path, rows: Sequence[_Row]) -> None:
    """The fetched files are what the hub says; large ones alone have a digest there."""
    for row in rows:
        path = folder / row.name
        if not path.is_file() or path.is_symlink():
            message = f"{row.name} was not fetched"
            raise Unavailable(message, code="hub_unavailable", hint="try again")
        if row.sha256 and _digest(path) != row.sha256:
            hint = "remove the fetched folder and fetch it again"
            message = f"{row.name} is not what the hub says"
            raise Tampered(message, code="hub_file_changed", hint=hint, where=row.name)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_READ_BYTES):
            digest.update(part)
    return digest.hexdigest()


def _licence_of(info: Any) -> str:
    card = info.card_data
    value = card.get("license") if card is not None else None
    text = value if isinstance(value, str) else ""
    return text if text.isprintable() and len(text) <= 128 else ""
