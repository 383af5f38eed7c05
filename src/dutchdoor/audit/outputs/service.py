"""Writes the outputs of an audit as one signed set, and checks a set against its statement.

A set is a folder: the files, and `outputs.json`, a statement that names each of them with its
digest. An auditor signs it; its entry is in the log before the folder is there.
"""

from __future__ import annotations

import base64
import importlib
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from dutchdoor import canonical
from dutchdoor.audit.outputs.material import Material
from dutchdoor.audit.outputs.model import File, Output
from dutchdoor.audit.ports import Record
from dutchdoor.clock import Clock
from dutchdoor.errors import Invalid, NotFound, Refused, Tampered, Unavailable
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.ports import Signer
from dutchdoor.evidence.statement import key_id, open_statement, sign_statement

__all__ = ["OUTPUTS", "STATEMENT_NAME", "OutputSet", "build", "check_set", "write_set"]

STATEMENT_NAME = "outputs.json"
STATEMENT_KIND = "audit_outputs"
STATEMENT_BYTES_MAX = 1 << 20
FILE_BYTES_MAX = 1 << 26
FILES_MAX = 64

_TABLE = (
    ("report-html", "report for a board, as HTML", "screen", "report_html"),
    ("report-pdf", "report for a board, as PDF", "paper", "report_pdf"),
    ("model-card", "model card for Hugging Face", "model_card", "model_card"),
    ("datasheet", "datasheet of the training data", "datasheet", "datasheet"),
    ("ml-bom", "CycloneDX ML-BOM", "ml_bom", "ml_bom"),
    ("spdx", "SPDX 3 document", "spdx", "spdx"),
    ("mof", "Model Openness Framework file", "mof", "mof"),
    ("eu-documentation", "EU model documentation form", "eu_documentation", "eu_documentation"),
    ("eu-safety-report", "EU safety and security report", "eu_safety_report", "eu_safety_report"),
    ("oscal", "OSCAL assessment results", "oscal", "oscal"),
)


def _output(name: str, title: str, module: str, function: str) -> Output:
    def make(material: Material) -> tuple[File, ...]:
        found = importlib.import_module(f"dutchdoor.audit.outputs.{module}")
        files: tuple[File, ...] = getattr(found, function)(material)
        return files

    return Output(name, title, make)


OUTPUTS: Mapping[str, Output] = MappingProxyType({row[0]: _output(*row) for row in _TABLE})
"""Every output by its name, in the order in which they are written."""


@dataclass(frozen=True)
class OutputSet:
    """A set whose statement verified. digest: of `outputs.json`. summary: "" for a draft."""

    audit: str
    bundle: str
    summary: str
    digest: str
    time_ms: int
    files: Mapping[str, str]

    @property
    def draft(self) -> bool:
        return not self.summary


def build(material: Material, names: Sequence[str] = ()) -> tuple[File, ...]:
    """The files of the outputs called `names`, of all without any.

    Raises NotFound: no such output. Raises Unavailable: the extra `report` is not installed.
    Raises Invalid: an output does not hold against its official schema.
    """
    unknown = [name for name in names if name not in OUTPUTS]
    if unknown:
        known = ", ".join(OUTPUTS)
        message = f"no output '{unknown[0]}'"
        raise NotFound(message, code="no_output", hint=f"there are: {known}")
    files: list[File] = []
    for output in OUTPUTS.values():
        if names and output.name not in names:
            continue
        try:
            files += output.build(material)
        except ModuleNotFoundError as error:
            message = f"{output.name} needs {error.name}, which is not installed"
            hint = "install the extra: pip install 'dutchdoor[report]'"
            raise Unavailable(message, code="report_extra_missing", hint=hint) from error
    return tuple(files)


def write_set(
    folder: Path,
    material: Material,
    signer: Signer,
    *,
    keys: Mapping[str, bytes],
    record: Record,
    clock: Clock,
    names: Sequence[str] = (),
) -> OutputSet:
    """Write the outputs to `folder`, signed and recorded; an earlier set there is replaced.

    keys: whose signature makes outputs, from trust.json.
    Raises Refused: the signer is not among them, or the folder holds something else. Raises
    Unavailable: it cannot be recorded; then nothing is written. Raises as `build`.
    """
    if keys.get(key_id(signer.public_key)) != signer.public_key:
        message = f"{signer.name} may not sign outputs: the key is not an auditor's"
        hint = "trust.json says who audits"
        raise Refused(message, code="signer_unknown", hint=hint)
    _must_be_ours(folder, keys)
    files = build(material, names)
    now_ms = clock.now_ms()
    about = {"audit": material.audit, "bundle": material.bundle, "summary": _summary(material)}
    body: dict[str, Any] = {
        **about,
        "files": [
            {
                "path": file.path,
                "digest": _digest(file.data),
                "bytes": len(file.data),
                "validated": file.validated,
            }
            for file in sorted(files, key=lambda file: file.path)
        ],
        "time_ms": now_ms,
    }
    envelope = sign_statement(STATEMENT_KIND, body, [signer])
    found = _open(envelope, keys)
    encoded = base64.b64encode(envelope).decode()
    entry = {**about, "outputs": found.digest, "envelope": encoded}
    record(Entry(EntryKind.OUTPUTS_WRITTEN, now_ms, entry))
    _write(folder, files, envelope)
    return found


def check_set(folder: Path, keys: Mapping[str, bytes]) -> OutputSet:
    """The set in `folder`, once its statement verifies and every file is what the statement says.

    Raises NotFound: no statement there. Raises Invalid: nobody trusted signed it. Raises Tampered:
    a file is gone, changed, or not of the set.
    """
    found = _open(_read(folder / STATEMENT_NAME, STATEMENT_BYTES_MAX), keys)
    there = {path.relative_to(folder).as_posix() for path in _paths(folder)} - {STATEMENT_NAME}
    for path in sorted(there - set(found.files)):
        raise Tampered(f"{path} is not of this set", code="outputs_changed", where=path)
    for path, digest in found.files.items():
        if path not in there:
            raise Tampered(f"{path} is gone", code="outputs_changed", where=path)
        if _digest(_read(folder / path, FILE_BYTES_MAX)) != digest:
            message = f"{path} is not as it was signed"
            raise Tampered(message, code="outputs_changed", where=path)
    return found


def _summary(material: Material) -> str:
    return "" if material.draft else material.status.summary


def _open(envelope: bytes, keys: Mapping[str, bytes]) -> OutputSet:
    body = open_statement(envelope, kind=STATEMENT_KIND, keys=keys, signatures_min=1).body
    try:
        files = {str(row["path"]): str(row["digest"]) for row in body["files"]}
        found = OutputSet(
            audit=body["audit"],
            bundle=body["bundle"],
            summary=body["summary"],
            digest=_digest(envelope),
            time_ms=body["time_ms"],
            files=files,
        )
        fits = 0 < len(files) == len(body["files"]) <= FILES_MAX and all(map(_is_inside, files))
    except (KeyError, TypeError) as error:
        raise Invalid("not a statement of outputs", code="bad_outputs") from error
    if not fits:
        raise Invalid("a statement of outputs with wrong paths", code="bad_outputs")
    return found


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts and parts.as_posix() == path


def _must_be_ours(folder: Path, keys: Mapping[str, bytes]) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    hint = "name a new folder, or one that holds an unchanged set of outputs"
    try:
        check_set(folder, keys)
    except Invalid as error:
        message = f"{folder} holds something else than a set of outputs: {error.message}"
        raise Refused(message, code="outputs_exist", hint=hint) from error


def _write(folder: Path, files: Sequence[File], envelope: bytes) -> None:
    """Put the set in place: whole in a folder beside, then moved, so that no half set is seen."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
    try:
        for path, data in ((f.path, f.data) for f in (*files, File(STATEMENT_NAME, envelope))):
            target = draft / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _paths(folder: Path) -> list[Path]:
    found = []
    for path in folder.rglob("*"):
        # A link could lead to bytes that nobody signed once the check is over.
        if path.is_symlink():
            raise Tampered(f"{path.name} is a link", code="outputs_changed", where=path.name)
        if path.is_file():
            found.append(path)
    return found


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        message = f"there is no {path.name} in {path.parent}"
        hint = "write a set with 'dutchdoor audit outputs FOLDER'"
        raise NotFound(message, code="no_outputs", hint=hint) from error
    if len(data) > bytes_max:
        raise Invalid(f"{path.name} is larger than {bytes_max} bytes", code="bad_outputs")
    return data


def _digest(data: bytes) -> str:
    return "sha256:" + canonical.sha256_hex(data)
