"""The briefing pack: what every member of a panel reads, in one folder whose digest is recorded.

README.md       the question, what is in the pack, what was left out and why
decision.md     the proposal on one page, where there is one
findings.md     what the audit found, as far as the reader may see it
audit/          the audit's signed documents, redacted by their own sensitivity
added/          what was put beside: worksheets, estimates, other voices
index.json      every file with its digest; the pack's digest is that of this file
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dutchdoor import canonical
from dutchdoor.audit.document import digest_of, write_bytes
from dutchdoor.audit.documents.export import sensitivity_of
from dutchdoor.audit.documents.forms import SENSITIVITIES
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.graph import standings
from dutchdoor.audit.model import SPECIFICATIONS, DocumentKind, DocumentState, Finding
from dutchdoor.audit.service import Audit
from dutchdoor.audit.template import TEMPLATES
from dutchdoor.errors import Invalid, NotFound, Refused, Tampered
from dutchdoor.evidence.decision import Trust

__all__ = ["INDEX_NAME", "Brief", "check_brief", "write_brief"]

INDEX_NAME = "index.json"
FILES_MAX = 500
INDEX_BYTES_MAX = 1 << 20
_VERSION = 1


class Included(NamedTuple):
    """What became of one document of the audit: written, or left out because of `why`."""

    kind: DocumentKind
    file: str
    digest: str
    why: str

    @property
    def title(self) -> str:
        """Its short name and the method's own title."""
        return f"{self.kind} {SPECIFICATIONS[self.kind].title}"


class Brief(NamedTuple):
    """A pack. digest: of its index, as an opening names it. redacted: documents left out."""

    digest: str
    files: tuple[str, ...]
    redacted: tuple[str, ...]


def write_brief(
    folder: Path,
    *,
    question: str,
    options: Sequence[str],
    audit: Audit,
    trust: Trust,
    reader: str,
    decision: str = "",
    added: Mapping[str, bytes] | None = None,
) -> Brief:
    """Write the pack into the new or empty `folder`.

    audit: with its signed documents. reader: the highest sensitivity that members may read.
    decision: the proposal's page. added: more documents, by plain file names.
    Raises Refused: the folder holds something. Raises Invalid: an unknown sensitivity, or a name
    that is none. Raises Tampered: a sign-off does not verify, or a document changed meanwhile.
    """
    if reader not in SENSITIVITIES:
        hint = "there are: " + ", ".join(SENSITIVITIES)
        raise Invalid(f"no level '{reader}'", code="no_sensitivity", hint=hint)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        message = f"{folder.name} is not an empty folder"
        raise Refused(message, code="brief_not_empty", hint="name a new folder")
    more = dict(added or {})
    for name in more:
        if Path(name).name != name or name.startswith("."):
            raise Invalid(f"'{name}' is no plain file name", code="bad_brief")
    source = AuditFolder(audit.path)
    found = standings(source.digests(), source.signatures(audit.subject, trust))
    included = [
        _document(kind, found[kind].state, source, folder / "audit", reader)
        for kind in source.kinds
    ]
    write_bytes(folder / "findings.md", _findings(audit, reader).encode())
    if decision:
        write_bytes(folder / "decision.md", decision.encode())
    for name, data in more.items():
        write_bytes(folder / "added" / name, data)
    left_out = [row for row in included if row.why]
    readme = _readme(question, options, included, sorted(more), bool(decision))
    write_bytes(folder / "README.md", readme.encode())
    files = _files(folder)
    index = {
        "v": _VERSION,
        "bundle": audit.subject.bundle,
        "audit": audit.subject.audit,
        "question": question,
        "options": list(options),
        "reader": reader,
        "files": [{"file": name, "digest": digest_of(folder / name)} for name in files],
        "redacted": [
            {
                "document": str(row.kind),
                "title": row.title,
                "why": row.why,
                "digest": row.digest,
            }
            for row in left_out
        ],
    }
    write_bytes(folder / INDEX_NAME, canonical.encode(index))
    redacted = tuple(str(row.kind) for row in left_out)
    return Brief(digest_of(folder / INDEX_NAME), files, redacted)


def check_brief(folder: Path, digest: str = "") -> Brief:
    """The pack in `folder` (unverified), every file of it as its index says.

    digest: what the opening names; "" where only the pack itself is checked.
    Raises NotFound: no pack. Raises Tampered: another pack, or a file that is changed, missing or
    added. Raises Invalid: the index is none.
    """
    path = folder / INDEX_NAME
    try:
        with path.open("rb") as file:
            data = file.read(INDEX_BYTES_MAX)
    except OSError as error:
        hint = "name the folder that 'dutchdoor panel brief' wrote"
        raise NotFound(f"there is no {path}", code="no_brief", hint=hint) from error
    found = "sha256:" + canonical.sha256_hex(data)
    if digest and found != digest:
        message = "this is not the briefing pack that the panel was opened with"
        raise Tampered(message, code="brief_changed", where=INDEX_NAME)
    index = canonical.parse(data)
    try:
        files = {str(row["file"]): row["digest"] for row in index["files"]}
        redacted = tuple(str(row["document"]) for row in index["redacted"])
    except (KeyError, TypeError) as error:
        raise Invalid("not the index of a briefing pack", code="bad_brief") from error
    there = _files(folder)
    strange = sorted(set(there) ^ set(files))
    if strange:
        message = f"{strange[0]} is missing from the pack, or was added to it"
        raise Tampered(message, code="brief_changed", where=strange[0])
    for name in there:
        if digest_of(folder / name) != files[name]:
            message = f"{name} is not what the pack's index says"
            raise Tampered(message, code="brief_changed", where=name)
    return Brief(found, there, redacted)


def _document(
    kind: DocumentKind, state: DocumentState, source: AuditFolder, target: Path, reader: str
) -> Included:
    """Copy a signed document that the reader may see; of any other nothing but title and digest."""
    name, digest = TEMPLATES[kind], source.digests()[kind]
    if state is not DocumentState.SIGNED:
        return Included(kind, name, digest, f"not signed ({state})")
    data = source.file(kind).read_bytes()
    level = sensitivity_of(kind, source)
    if SENSITIVITIES.index(level) > SENSITIVITIES.index(reader):
        return Included(kind, name, digest, level)
    if "sha256:" + canonical.sha256_hex(data) != digest:
        message = f"{kind} changed while it was read"
        raise Tampered(message, code="document_changed", where=name)
    write_bytes(target / name, data)
    return Included(kind, name, digest, "")


def _files(folder: Path) -> tuple[str, ...]:
    paths = [path for path in folder.rglob("*") if not path.is_dir()]
    if len(paths) > FILES_MAX or any(path.is_symlink() for path in paths):
        message = f"a pack has at most {FILES_MAX} plain files"
        raise Invalid(message, code="bad_brief")
    names = [path.relative_to(folder).as_posix() for path in paths]
    return tuple(sorted(name for name in names if name != INDEX_NAME))


def _findings(audit: Audit, reader: str) -> str:
    """The findings word for word where the reader may see the tests, else only how many."""
    findings = audit.status().findings
    level = sensitivity_of(DocumentKind.T2, AuditFolder(audit.path))
    lines = ["# What the audit found", ""]
    if SENSITIVITIES.index(level) <= SENSITIVITIES.index(reader):
        lines += [_finding(row) for row in findings] or ["Nothing was found."]
    else:
        counts: dict[str, int] = {}
        for row in findings:
            name = f"{row.severity}, {row.status}"
            counts[name] = counts.get(name, 0) + 1
        lines += [f"- {number} {name}" for name, number in sorted(counts.items())]
        lines += ["", f"Their texts are redacted ({level}): whoever may read more sees them."]
    return "\n".join(lines) + "\n"


def _finding(row: Finding) -> str:
    return f"- **{row.id}** ({row.severity}, {row.status}): {row.text}"


def _readme(
    question: str,
    options: Sequence[str],
    included: Sequence[Included],
    added: Sequence[str],
    decision: bool,
) -> str:
    rows: list[Any] = ["# Briefing", "", f"**You are asked:** {question}", ""]
    rows += [f"- {option}" for option in options]
    rows += ["", "## What is in this pack", "", "- [What the audit found](findings.md)"]
    rows += ["- [What is proposed](decision.md)"] if decision else []
    rows += [f"- [{name}](added/{name})" for name in added]
    rows += [f"- [{row.title}](audit/{row.file})" for row in included if not row.why]
    rows += ["", "## What was left out", ""]
    rows += [f"- {row.title}: {row.why}; digest `{row.digest}`" for row in included if row.why] or [
        "Nothing."
    ]
    rows += [
        "",
        "`index.json` has the digest of every file; its own digest is in the panel's opening.",
        "You may ask for what was left out; whoever says no answers for it.",
    ]
    return "\n".join(rows) + "\n"
