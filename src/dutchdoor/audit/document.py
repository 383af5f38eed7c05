"""Documents that people edit and git keeps: Markdown with YAML front matter, read with distrust.

    ---
    document: S2
    ...
    ---
    # Scope memo
    ...

The digest of a document is over the bytes of its file. Front matter is plain YAML: no aliases (a
short file must not unfold into a large one), no repeated keys, no dates (they stay text).
"""

from __future__ import annotations

import copy
import os
import re
import secrets
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from dutchdoor import canonical
from dutchdoor.errors import Invalid, NotFound

__all__ = [
    "DOCUMENT_BYTES_MAX",
    "Document",
    "digest_of",
    "fill",
    "read_document",
    "read_yaml",
    "write_bytes",
    "write_document",
    "write_yaml",
]

DOCUMENT_BYTES_MAX = 1 << 20
PARSED_MAX = 64
"""Pages that are kept parsed."""
_FENCE = "---\n"


@dataclass(frozen=True)
class Document:
    """Front matter and body of one document."""

    front: dict[str, Any]
    body: str

    def encode(self) -> bytes:
        """The bytes of the file, ending in one newline."""
        front = _dump(self.front)
        return f"{_FENCE}{front}{_FENCE}{self.body.strip()}\n".encode()

    @classmethod
    def decode(cls, data: bytes, *, where: str = "the document") -> Document:
        """The document of `data` (unverified bytes). where: its name in errors.

        Raises Invalid: too large, not UTF-8, no front matter, or front matter that is not plain
        YAML.
        """
        if len(data) > DOCUMENT_BYTES_MAX:
            message = f"{where} is larger than {DOCUMENT_BYTES_MAX} bytes"
            raise Invalid(message, code="document_too_large")
        try:
            text = data.decode().replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise Invalid(f"{where} is not UTF-8", code="bad_document") from error
        parts = re.split(r"^---[ \t]*$\n?", text, maxsplit=2, flags=re.MULTILINE)
        if len(parts) != 3 or parts[0].strip():
            hint = "it begins with a line '---', settings, and another line '---'"
            raise Invalid(f"{where} has no front matter", code="bad_document", hint=hint)
        front = read_yaml(parts[1], where=where)
        if not isinstance(front, dict):
            raise Invalid(f"the front matter of {where} is no mapping", code="bad_document")
        return cls(front, parts[2].strip() + "\n")

    def with_front(self, **changes: Any) -> Document:
        """The document with some settings changed."""
        return replace(self, front={**self.front, **changes})


def read_document(path: Path) -> Document:
    """The document in `path`. Raises NotFound: no such file. Invalid: see `Document.decode`."""
    return Document.decode(_read(path), where=path.name)


def write_document(path: Path, document: Document) -> None:
    """Write `document` whole or not at all."""
    write_bytes(path, document.encode())


def digest_of(path: Path) -> str:
    """`sha256:` and the SHA-256 of the file's bytes. Raises NotFound: no such file."""
    return "sha256:" + canonical.sha256_hex(_read(path))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, durable when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def fill(body: str, name: str, text: str) -> str:
    """`body` with the generated part `name` replaced by `text`, or added at the end.

    What people wrote outside the marks stays as it is.
    """
    begin, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
    part = f"{begin}\n{text.strip()}\n{end}"
    before, found, rest = body.partition(begin)
    if not found:
        return f"{body.strip()}\n\n{part}\n"
    _, closed, after = rest.partition(end)
    return f"{before}{part}{after if closed else ''}"


def read_yaml(text: str, *, where: str, fenced: bool = True) -> Any:
    """The plain YAML value of `text` (unverified).

    fenced: it is a document's front matter; a whole file of YAML has no fence above it.

    Raises Invalid: not YAML, an alias, a repeated key, or a value that is neither text, a whole
    number, true, false, null, a list nor a mapping.
    """
    # Parsing is slow and an audit reads the same pages many times; callers may change their copy.
    return copy.deepcopy(_parse(text, f"front matter of {where}" if fenced else where, int(fenced)))


@lru_cache(maxsize=PARSED_MAX)
def _parse(text: str, where: str, lines_above: int) -> Any:
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader, stricter than it
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        place = "" if line is None else f", line {line + 1 + lines_above}"
        problem = getattr(error, "problem", None) or "not YAML"
        raise Invalid(f"{where}{place}: {problem}", code="bad_document") from error
    _check_plain(value, where)
    return value


def write_yaml(path: Path, value: dict[str, Any]) -> None:
    """Write plain values as YAML, whole or not at all."""
    write_bytes(path, _dump(value).encode())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(DOCUMENT_BYTES_MAX + 1)
    except (FileNotFoundError, IsADirectoryError) as error:
        message = f"{path.name} is not in {path.parent.name}"
        raise NotFound(message, code="document_missing") from error


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases, repeated keys, and guesses that text is a date or a fraction."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, "an alias is not allowed", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str" or key.value in seen:
                problem = f"the key '{key.value}' is repeated or no text"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


# YAML 1.1 takes `no` for false, `1:30` for 90 and `010` for 8; people who write these mean text.
_PLAIN = {
    "tag:yaml.org,2002:null": (r"~|null|", ["~", "n", ""]),
    "tag:yaml.org,2002:bool": (r"true|false", ["t", "f"]),
    "tag:yaml.org,2002:int": (r"-?(?:0|[1-9][0-9]{0,15})", list("-0123456789")),
    "tag:yaml.org,2002:merge": (r"<<", ["<"]),
}
_Loader.yaml_implicit_resolvers = {}
for _tag, (_pattern, _firsts) in _PLAIN.items():
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _firsts)


class _Dumper(yaml.SafeDumper):
    """SafeDumper that never writes aliases and writes long text as a block."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    odd = not all(char.isprintable() or char == "\n" for char in text)
    style = '"' if odd else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text_node)


def _dump(value: dict[str, Any]) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=96, indent=2)


def _check_plain(value: Any, where: str) -> None:
    if value is None or isinstance(value, bool | int | str):
        return
    if isinstance(value, list):
        for item in value:
            _check_plain(item, where)
    elif isinstance(value, dict):
        for item in value.values():
            _check_plain(item, where)
    else:
        kind = type(value).__name__
        raise Invalid(f"{where} holds a {kind}", code="bad_document")
