"""Reading a sealed bundle: straight into memory, or not at all.

1. The folder is what its holder signed (`weights.folder`).
2. The content key is the committed one, for the bundle and for each file, before anything else is
   decrypted: AES-GCM alone would open one ciphertext under two keys.
3. Every index opens, and names, sizes and places together give the signed file set.
4. A file is decrypted slot by slot into anonymous memory that is kept out of core dumps; only when
   all slots have verified does the caller get it.

What the caller must still do: open only under a decision in force (custody sees to it), compare
`digest` with that decision, and never write the memory anywhere. `stream` is for an export alone
(decision record 0009).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Self

from dutchdoor.custody.model import ContentKey
from dutchdoor.custody.shares import key_commitment
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused
from dutchdoor.ids import BundleDigest
from dutchdoor.weights.arena import new_arena
from dutchdoor.weights.folder import OpenFile, VerifiedFolder, open_folder, open_sealed, tampered
from dutchdoor.weights.format import (
    SLOT_PLAIN_BYTES,
    FileCipher,
    Header,
    Index,
    Span,
    file_set_digest,
)
from dutchdoor.weights.model import MANIFEST_NAME, Content, Manifest
from dutchdoor.weights.public import tensor_table
from dutchdoor.weights.tensors import (
    LENGTH_BYTES,
    TensorEntry,
    TensorView,
    parse_metadata,
    parse_tensors,
)
from dutchdoor.weights.unseal import ReadOptions, SealedSlots, read_index

__all__ = ["Located", "ReadOptions", "SealedBundle"]


class Located(NamedTuple):
    """A tensor and where it lies. span: its bytes in the plain file of this name."""

    file: str
    entry: TensorEntry
    span: Span


class _File:
    """One sealed file of an open bundle."""

    def __init__(self, slots: SealedSlots) -> None:
        self.slots = slots
        self.index = Index.decode(read_index(slots))
        self._entries: tuple[TensorEntry, ...] | None = None
        if self.index.size != self.header.size:
            name = slots.name
            raise tampered(f"the index of {name} was changed", "index_changed", name)

    @property
    def header(self) -> Header:
        return self.slots.opened.header

    def entries(self) -> tuple[TensorEntry, ...]:
        """The tensors of its index. Raises Invalid: it has none."""
        text = self.index.safetensors
        if text is None:
            message = f"{self.index.name} holds no safetensors"
            raise Invalid(message, code="not_safetensors", hint="read it as a plain file")
        if self._entries is None:
            self._entries = parse_tensors(text, self.index.size - self.data_offset)
        return self._entries

    @property
    def data_offset(self) -> int:
        """Where the tensors' bytes begin in the plain file."""
        return LENGTH_BYTES + len(str(self.index.safetensors).encode())


class SealedBundle:
    """A sealed bundle, open for reading; `SealedBundle.open` is the only way in.

    Use it as a context manager: leaving it closes the files. Memory that was handed out stays.
    """

    def __init__(
        self, folder: VerifiedFolder, files: Mapping[str, _File], options: ReadOptions
    ) -> None:
        self._folder = folder
        self._files = files
        self._options = options

    @classmethod
    def open(
        cls,
        path: Path,
        content_key: ContentKey,
        trust_keys: Mapping[str, bytes],
        *,
        bundle: BundleDigest | None = None,
        options: ReadOptions | None = None,
    ) -> SealedBundle:
        """The bundle at `path`, steps 1 to 3.

        trust_keys: holders' Ed25519 keys by key id, from configuration. bundle: the digest that
        the decision names, where there is one.
        Raises Invalid: not sealed, not signed by a trusted holder, or not its key.
        Raises Refused: another bundle than `bundle`. Raises Tampered: anything was changed.
        """
        folder = open_folder(path, trust_keys)
        manifest = folder.manifest
        if bundle is not None and manifest.digest != bundle:
            message = f"the bundle at {path} is {manifest.digest}, not the one decided on"
            hint = "bring the bundle that the decision names, or decide on this one"
            raise Refused(message, code="other_bundle", hint=hint)
        if key_commitment(content_key) != manifest.content.commitment:
            raise _wrong_key()
        files: dict[str, _File] = {}
        try:
            _open_files(folder, content_key, files)
        except BaseException:
            _close(files)
            raise
        return cls(folder, files, options or ReadOptions())

    @property
    def manifest(self) -> Manifest:
        return self._folder.manifest

    @property
    def digest(self) -> BundleDigest:
        return self._folder.manifest.digest

    def names(self) -> tuple[str, ...]:
        """The plain files' names, sorted."""
        return tuple(sorted(self._files))

    def size(self, name: str) -> int:
        """Bytes of the plain file.

        Raises NotFound: no such file in the bundle.
        """
        return self._file(name).header.size

    def read(self, name: str) -> memoryview:
        """The plain file's bytes, writable, in anonymous memory of their own.

        Raises NotFound: no such file. Raises Tampered: any slot was changed; nothing is returned.
        """
        file = self._file(name)
        target = self.new_memory(file.header.size)
        file.slots.decrypt(range(file.header.slots), target, self._options)
        return target

    def read_span(self, name: str, span: Span) -> memoryview:
        """A stretch of the plain file; only the slots that hold it are read and decrypted.

        Raises as `read` does.
        """
        file = self._file(name)
        assert 0 <= span.offset <= span.end <= file.header.size, "not a stretch of this file"
        if not span.size:
            return memoryview(bytearray())
        slots = range(span.offset // SLOT_PLAIN_BYTES, -(-span.end // SLOT_PLAIN_BYTES))
        base = file.header.plain(slots[0]).offset
        target = self.new_memory(file.header.plain(slots[-1]).end - base)
        file.slots.decrypt(slots, target, self._options)
        return target[span.offset - base : span.end - base]

    def stream(self, name: str) -> Iterator[memoryview]:
        """The plain file slot by slot, each verified before it is given.

        A piece is good until the next is asked for. Where a later slot was changed, the caller has
        the beginning of a file: only for a writer that throws away what it could not finish.
        Raises NotFound: no such file. Raises Tampered: a slot was changed.
        """
        file = self._file(name)
        slots = range(file.header.slots)
        buffer = memoryview(bytearray(file.header.plain(0).size))
        for number in slots:
            piece = buffer[: file.header.plain(number).size]
            file.slots.decrypt_one(number, piece)
            yield piece

    def tensor_entries(self, name: str) -> tuple[TensorEntry, ...]:
        """The tensors of one safetensors file, from its index alone.

        Raises NotFound: no such file. Raises Invalid: not a safetensors file.
        """
        return self._file(name).entries()

    def metadata(self, name: str) -> dict[str, str]:
        """The `__metadata__` of one safetensors file. Raises as `tensor_entries` does."""
        file = self._file(name)
        file.entries()
        return parse_metadata(str(file.index.safetensors))

    def locate(self, name: str | None = None) -> dict[str, Located]:
        """Where each tensor lies, by its name: of one safetensors file, or of all of them.

        Raises Invalid: two shards hold a tensor of one name. Raises as `tensor_entries` does.
        """
        found: dict[str, Located] = {}
        for file_name in self.weight_names() if name is None else (name,):
            start = self._file(file_name).data_offset
            for entry in self.tensor_entries(file_name):
                place = Located(
                    file_name, entry, Span(start + entry.begin, entry.end - entry.begin)
                )
                if found.setdefault(entry.name, place) is not place:
                    raise _held_twice(entry.name)
        return found

    def tensors(self, name: str) -> tuple[TensorView, ...]:
        """The tensors of one safetensors file as views of one memory, nothing copied.

        Raises as `read` and `tensor_entries` do.
        """
        entries = self.tensor_entries(name)
        memory = self.read(name)
        start = LENGTH_BYTES + int.from_bytes(memory[:LENGTH_BYTES], "little")
        if bytes(memory[LENGTH_BYTES:start]) != str(self._file(name).index.safetensors).encode():
            raise tampered(f"index and header of {name} differ", "index_changed", name)
        return tuple(
            TensorView(e.name, e.dtype, e.shape, memory[start + e.begin : start + e.end])
            for e in entries
        )

    def weight_names(self) -> tuple[str, ...]:
        """The names of the safetensors files, sorted."""
        return tuple(n for n in self.names() if self._files[n].index.safetensors is not None)

    def all_tensors(self) -> Iterator[TensorView]:
        """Every tensor of every safetensors file, one file in memory after the other.

        Raises Invalid: two shards hold a tensor of one name. Raises as `tensors` does.
        """
        seen: set[str] = set()
        for name in self.weight_names():
            for view in self.tensors(name):
                if view.name in seen:
                    raise _held_twice(view.name)
                seen.add(view.name)
                yield view

    def close(self) -> None:
        """Closes the sealed files; memory that was handed out stays."""
        _close(self._files)
        self._files = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SealedBundle({self.digest}, {len(self._files)} files)"

    def _file(self, name: str) -> _File:
        try:
            return self._files[name]
        except KeyError as error:
            message = f"the bundle holds no file {name!r}"
            raise NotFound(message, code="no_such_file", hint="see names()") from error

    def read_slot(self, name: str, number: int, into: memoryview) -> memoryview:
        """One slot's plain bytes, in the first bytes of `into`. Raises as `read` does."""
        file = self._file(name)
        piece = into[: file.header.plain(number).size]
        file.slots.decrypt_one(number, piece)
        return piece

    def new_memory(self, size: int) -> memoryview:
        """Memory that plaintext may be put into, from the arenas where the options name some."""
        arenas = self._options.arenas
        return memoryview(new_arena(size))[:size] if arenas is None else arenas.take(size)


def _open_files(folder: VerifiedFolder, key: ContentKey, files: dict[str, _File]) -> None:
    """Puts every opened file into `files`, which the caller closes whatever happens."""
    content = folder.manifest.content
    for place, sealed in enumerate(content.files):
        opened = open_sealed(folder.path, sealed)
        try:
            file = _File(SealedSlots(sealed.name, opened, _cipher(content, place, opened, key)))
        except BaseException:
            os.close(opened.handle)
            raise
        if files.setdefault(file.index.name, file) is not file:
            os.close(opened.handle)
            raise tampered("two files have one name", "set_changed", sealed.name)
    indices = [file.index for file in files.values()]
    if file_set_digest(key, content.content_id, indices) != content.file_set:
        raise tampered("the set of files was changed", "set_changed", folder.path.name)
    _check_table(content, files)


def _check_table(content: Content, files: Mapping[str, _File]) -> None:
    """The tensor table that the holder shows is that of what is sealed."""
    shown = content.public.tensors
    if shown is None:
        return
    weights = [file for file in files.values() if file.index.safetensors is not None]
    if shown != tensor_table(entry for file in weights for entry in file.entries()):
        message = "the table of tensors is not that of the sealed ones"
        raise tampered(message, "set_changed", MANIFEST_NAME)


def _cipher(content: Content, place: int, opened: OpenFile, key: ContentKey) -> FileCipher:
    header = opened.header
    said = (header.file, header.content_id, header.version)
    if said != (place, content.content_id, content.version):
        name = content.files[place].name
        raise tampered(f"{name} is of another place, bundle or form", "head_changed", name)
    cipher = FileCipher(key, header)
    if not cipher.commits_to(opened.commitment):
        raise _wrong_key()
    return cipher


def _close(files: Mapping[str, _File]) -> None:
    for file in files.values():
        os.close(file.slots.opened.handle)


def _wrong_key() -> DutchdoorError:
    message = "this is not the key of this bundle"
    hint = "open the bundle with its own custodians"
    return Invalid(message, code="wrong_key", hint=hint)


def _held_twice(name: str) -> Invalid:
    message = f"two shards hold a tensor {name!r}"
    return Invalid(message, code="bad_safetensors", hint="shard it again")
