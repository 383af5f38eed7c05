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

import contextlib
import mmap
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dutchdoor.custody.model import ContentKey
from dutchdoor.custody.shares import key_commitment
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused
from dutchdoor.ids import BundleDigest
from dutchdoor.weights.folder import (
    OpenFile,
    VerifiedFolder,
    open_folder,
    open_sealed,
    read_span,
    tampered,
)
from dutchdoor.weights.format import FileCipher, Header, Index, file_set_digest
from dutchdoor.weights.model import Content, Manifest, SealedFile
from dutchdoor.weights.tensors import LENGTH_BYTES, TensorEntry, TensorView, parse_tensors

__all__ = ["ReadOptions", "SealedBundle"]


@dataclass(frozen=True)
class ReadOptions:
    """How a bundle is read.

    threads: over the slots of one file; decryption runs without the interpreter's lock.
    private_copies: read each slot into private memory before it is decrypted, for 30 to 50 % more
    time. Without it the ciphertext is decrypted from a mapping, and who can write the file during
    the very call may disturb it: truncating it kills the process.
    """

    threads: int = 1
    private_copies: bool = False


class _File:
    """One sealed file of an open bundle."""

    def __init__(self, sealed: SealedFile, opened: OpenFile, cipher: FileCipher) -> None:
        self.sealed = sealed
        self.opened = opened
        self.cipher = cipher
        self.index = self._open_index()

    @property
    def header(self) -> Header:
        return self.opened.header

    def _open_index(self) -> Index:
        span, name = self.header.index, self.sealed.name
        plain = self.cipher.open_index(read_span(self.opened.handle, span, name))
        if plain is None:
            where = f"{name}, bytes {span.offset} to {span.end}"
            raise tampered(f"the index of {name} was changed", "index_changed", where)
        index = Index.decode(plain)
        if index.size != self.header.size:
            raise tampered(f"the index of {name} was changed", "index_changed", name)
        return index

    def open_slots(self, slots: range, source: mmap.mmap | None, into: memoryview) -> None:
        """Decrypts `slots` into their place in `into`; from the mapping, else by reading."""
        view = memoryview(source) if source is not None else None
        scratch = memoryview(bytearray(self.header.slot(0).size if view is None else 0))
        for number in slots:
            span, plain = self.header.slot(number), self.header.plain(number)
            if view is not None:
                sealed = view[span.offset : span.end]
            else:
                sealed = scratch[: span.size]
                sealed[:] = read_span(self.opened.handle, span, self.sealed.name)
            if not self.cipher.open_slot(number, sealed, into[plain.offset : plain.end]):
                name = self.sealed.name
                where = f"{name}, slot {number}, bytes {span.offset} to {span.end}"
                raise tampered(f"{name} was changed", "slot_changed", where)

    def open_slot(self, number: int, into: memoryview) -> None:
        """Decrypts one slot, read into private memory first."""
        span, name = self.header.slot(number), self.sealed.name
        sealed = read_span(self.opened.handle, span, name)
        if not self.cipher.open_slot(number, memoryview(sealed), into):
            where = f"{name}, slot {number}, bytes {span.offset} to {span.end}"
            raise tampered(f"{name} was changed", "slot_changed", where)


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
        size = file.header.size
        target = memoryview(_arena(size))[:size]
        self._decrypt(file, target)
        return target

    def stream(self, name: str) -> Iterator[memoryview]:
        """The plain file slot by slot, each verified before it is given.

        A piece is good until the next is asked for. Where a later slot was changed, the caller has
        the beginning of a file: only for a writer that throws away what it could not finish.
        Raises NotFound: no such file. Raises Tampered: a slot was changed.
        """
        file = self._file(name)
        slots = file.header.slots
        spans = [file.header.plain(number) for number in range(slots)]
        buffer = memoryview(bytearray(max((span.size for span in spans), default=0)))
        for number, span in enumerate(spans):
            piece = buffer[: span.size]
            file.open_slot(number, piece)
            yield piece

    def tensor_entries(self, name: str) -> tuple[TensorEntry, ...]:
        """The tensors of one safetensors file, from its index alone.

        Raises NotFound: no such file. Raises Invalid: not a safetensors file.
        """
        index = self._file(name).index
        if index.safetensors is None:
            message = f"{name} holds no safetensors"
            raise Invalid(message, code="not_safetensors", hint="read it as a plain file")
        header_bytes = len(index.safetensors.encode())
        return parse_tensors(index.safetensors, index.size - LENGTH_BYTES - header_bytes)

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
                    message = f"two shards hold a tensor {view.name!r}"
                    raise Invalid(message, code="bad_safetensors", hint="shard it again")
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

    def _decrypt(self, file: _File, target: memoryview) -> None:
        slots = file.header.slots
        source = None
        if not self._options.private_copies:
            source = _map(file)
        threads = max(1, min(self._options.threads, slots))
        if threads == 1:
            file.open_slots(range(slots), source, target)
            return
        share = -(-slots // threads)
        parts = [range(start, min(start + share, slots)) for start in range(0, slots, share)]
        with ThreadPoolExecutor(threads, "unseal") as pool:
            # Every part is waited for, so that no thread writes to memory that is given up.
            for done in [pool.submit(file.open_slots, part, source, target) for part in parts]:
                done.result()


def _open_files(folder: VerifiedFolder, key: ContentKey, files: dict[str, _File]) -> None:
    """Puts every opened file into `files`, which the caller closes whatever happens."""
    content = folder.manifest.content
    for place, sealed in enumerate(content.files):
        opened = open_sealed(folder.path, sealed)
        try:
            file = _File(sealed, opened, _cipher(content, place, opened, key))
        except BaseException:
            os.close(opened.handle)
            raise
        if files.setdefault(file.index.name, file) is not file:
            os.close(opened.handle)
            raise tampered("two files have one name", "set_changed", sealed.name)
    indices = [file.index for file in files.values()]
    if file_set_digest(key, content.content_id, indices) != content.file_set:
        raise tampered("the set of files was changed", "set_changed", folder.path.name)


def _cipher(content: Content, place: int, opened: OpenFile, key: ContentKey) -> FileCipher:
    header = opened.header
    if header.file != place or header.content_id != content.content_id:
        name = content.files[place].name
        raise tampered(f"{name} is of another place or bundle", "head_changed", name)
    cipher = FileCipher(key, header)
    if not cipher.commits_to(opened.commitment):
        raise _wrong_key()
    return cipher


def _map(file: _File) -> mmap.mmap:
    try:
        source = mmap.mmap(file.opened.handle, file.sealed.bytes, mmap.MAP_SHARED, mmap.PROT_READ)
    except (OSError, ValueError) as error:
        # The file is shorter than it was when it was opened.
        name = file.sealed.name
        raise tampered(f"{name} ends early", "size_changed", name) from error
    _advise(source, "MADV_SEQUENTIAL")
    _advise(source, "MADV_WILLNEED")
    return source


def _arena(size: int) -> mmap.mmap:
    """Anonymous memory: huge pages, or first touches cost more than the decryption."""
    arena = mmap.mmap(-1, max(size, 1), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    _advise(arena, "MADV_HUGEPAGE")
    _advise(arena, "MADV_DONTDUMP")
    _advise(arena, "MADV_DONTFORK")
    return arena


def _advise(memory: mmap.mmap, advice: str) -> None:
    # Advice that this kernel does not know is no failure: it changes speed and dumps alone.
    with contextlib.suppress(OSError, AttributeError):
        memory.madvise(getattr(mmap, advice))


def _close(files: Mapping[str, _File]) -> None:
    for file in files.values():
        os.close(file.opened.handle)


def _wrong_key() -> DutchdoorError:
    message = "this is not the key of this bundle"
    hint = "open the bundle with its own custodians"
    return Invalid(message, code="wrong_key", hint=hint)
