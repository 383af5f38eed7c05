"""Sealed weights read as safetensors are: `safe_open`, `load_file`, and a model filled in place.

Each takes a bundle that is open already, or its path with the content key and the holders' keys.
The key is an object that custody gave: it is never read from a file, an argument of a command or
the environment here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from dutchdoor.custody.model import ContentKey
from dutchdoor.errors import Invalid, NotFound
from dutchdoor.weights.format import SLOT_PLAIN_BYTES, Span
from dutchdoor.weights.frameworks import (
    Framework,
    check_framework,
    load_into,
    make_tensor,
)
from dutchdoor.weights.reader import Located, ReadOptions, SealedBundle
from dutchdoor.weights.slices import SliceIndex, gather, plan_slice

__all__ = ["Keys", "SealedTensors", "TensorSlice", "fill_module", "load_file", "safe_open"]


class Keys(NamedTuple):
    """What opens a bundle at a path. trust: holders' Ed25519 keys by key id, from configuration."""

    content: ContentKey
    trust: Mapping[str, bytes]


def safe_open(
    source: SealedBundle | Path | str,
    framework: str = "pt",
    device: str = "cpu",
    *,
    keys: Keys | None = None,
    options: ReadOptions | None = None,
) -> SealedTensors:
    """The tensors of a bundle, or of one file in it, with the interface of `safetensors.safe_open`.

    source: an open bundle, the path of one (`NAME.sealed`), or a plain file's name below it
    (`NAME.sealed/model-00001-of-00002.safetensors`). framework: `pt` or `np`.
    Raises NotFound, Invalid, Refused, Tampered as `SealedBundle.open` does. Raises Invalid: a path
    without keys, or a plain file: there is no fallback to plain weights.
    """
    kind = check_framework(framework)
    if isinstance(source, SealedBundle):
        return SealedTensors(source, kind, device)
    if keys is None:
        hint = "give an open SealedBundle, or keys=Keys(content, trust)"
        raise Invalid("a sealed bundle needs its key", code="no_key", hint=hint)
    path, name = _split(Path(source))
    bundle = SealedBundle.open(path, keys.content, keys.trust, options=options)
    try:
        return SealedTensors(bundle, kind, device, name=name, owns=True)
    except BaseException:
        bundle.close()
        raise


def load_file(
    source: SealedBundle | Path | str,
    framework: str = "pt",
    device: str = "cpu",
    *,
    keys: Keys | None = None,
    options: ReadOptions | None = None,
) -> dict[str, Any]:
    """Every tensor by its name, over one memory for each file. Raises as `safe_open` does."""
    with safe_open(source, framework, device, keys=keys, options=options) as tensors:
        return tensors.load()


def fill_module(module: Any, source: SealedBundle | SealedTensors) -> None:
    """Decrypts a bundle's tensors straight into a torch module that has no memory yet.

    module: built under `torch.device("meta")`. Its parameters become views of the decrypted
    memory. Buffers that no file holds must be there already: transformers' models are better made
    by `runtime.transformers_engine.loading.model_of_bundle`, which computes them.
    Raises Invalid: missing, unknown or misshapen tensors. Raises Tampered: a slot was changed.
    """
    tensors = source if isinstance(source, SealedTensors) else safe_open(source, "pt")
    load_into(module, tensors.load())


class SealedTensors:
    """The open tensors; `safe_open` is the way in. A context manager that closes what it opened."""

    def __init__(
        self,
        bundle: SealedBundle,
        framework: Framework,
        device: str,
        *,
        name: str | None = None,
        owns: bool = False,
    ) -> None:
        self._bundle = bundle
        self._framework = framework
        self._device = device
        self._name = name
        self._owns = owns
        self._places = bundle.locate(name)

    def keys(self) -> list[str]:
        """The tensors' names, sorted."""
        return sorted(self._places)

    def offset_keys(self) -> list[str]:
        """The tensors' names in the order of their bytes."""
        return list(self._places)

    def metadata(self) -> dict[str, str] | None:
        """What the files say of themselves; of several, the first that says a thing counts."""
        names = self._bundle.weight_names() if self._name is None else (self._name,)
        found: dict[str, str] = {}
        for name in reversed(names):
            found.update(self._bundle.metadata(name))
        return found or None

    def get_tensor(self, name: str) -> Any:
        """One tensor; only the slots that hold it are decrypted.

        Raises NotFound: no such tensor. Raises Tampered: a slot was changed.
        """
        place = self._place(name)
        data = self._bundle.read_span(place.file, place.span)
        return self._make(place, place.entry.shape, data)

    def get_slice(self, name: str) -> TensorSlice:
        """A tensor whose parts can be read. Raises NotFound: no such tensor."""
        return TensorSlice(self, self._place(name))

    def load(self) -> dict[str, Any]:
        """Every tensor by its name, file after file over one memory each."""
        names = self._bundle.weight_names() if self._name is None else (self._name,)
        return {
            view.name: make_tensor(self._framework, view.dtype, view.shape, view.data, self._device)
            for name in names
            for view in self._bundle.tensors(name)
        }

    def close(self) -> None:
        """Closes the bundle where it was opened here; tensors stay."""
        if self._owns:
            self._bundle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._places)

    def _place(self, name: str) -> Located:
        try:
            return self._places[name]
        except KeyError as error:
            message = f"the bundle holds no tensor {name!r}"
            raise NotFound(message, code="no_such_tensor", hint="see keys()") from error

    def _make(self, place: Located, shape: tuple[int, ...], data: memoryview) -> Any:
        return make_tensor(self._framework, place.entry.dtype, shape, data, self._device)

    def _read(self, place: Located, index: SliceIndex) -> Any:
        entry, (begin, size) = place.entry, place.span
        count = 1
        for part in entry.shape:
            count *= part
        if size % max(count, 1):
            hint = "read the whole tensor"
            raise Invalid(f"no slices of type {entry.dtype}", code="bad_slice", hint=hint)
        stretches = plan_slice(entry.shape, size // max(count, 1), index)
        whole = stretches.whole
        if whole is not None:
            data = self._bundle.read_span(place.file, Span(begin + whole.offset, whole.size))
            return self._make(place, stretches.shape, data)
        memory = self._bundle.new_memory(stretches.total)
        scratch = memoryview(bytearray(SLOT_PLAIN_BYTES))
        gather(stretches, begin, lambda n: self._bundle.read_slot(place.file, n, scratch), memory)
        return self._make(place, stretches.shape, memory)


class TensorSlice:
    """A tensor to be read in part: `slice[rows, columns]` decrypts the slots of these alone."""

    def __init__(self, tensors: SealedTensors, place: Located) -> None:
        self._tensors = tensors
        self._place = place

    def get_shape(self) -> list[int]:
        """The whole tensor's shape."""
        return list(self._place.entry.shape)

    def get_dtype(self) -> str:
        """The type as safetensors writes it."""
        return self._place.entry.dtype

    def __getitem__(self, index: SliceIndex) -> Any:
        """The part. Raises Invalid: no such index. Raises Tampered: a slot was changed."""
        return self._tensors._read(self._place, index)


def _split(path: Path) -> tuple[Path, str | None]:
    """A bundle's folder, and the name of a plain file in it where the path goes on below it."""
    if path.suffix == ".sealed":
        return path, None
    for parent in path.parents:
        if parent.suffix == ".sealed":
            return parent, path.relative_to(parent).as_posix()
    hint = "plain weights are never read where sealed ones are expected: dutchdoor seal"
    raise Invalid(f"{path} is no sealed bundle", code="not_sealed", hint=hint)
