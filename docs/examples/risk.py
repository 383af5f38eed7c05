"""Makes the worked example of risk anew: links of its worksheet, estimate, page and drawings.

    python -m docs.examples.risk [FOLDER]

It rests on the example audit, whose signatures prove nothing. It takes the digests of what the
worksheet points at as they are now; in a real worksheet people read first and then write a digest.
"""

from __future__ import annotations

import sys
from pathlib import Path

from docs.examples.sign import EXAMPLE as AUDIT
from docs.examples.sign import STARTED_MS, example_trust
from dutchdoor.app.risk import write_into
from dutchdoor.audit.document import Document, digest_of, read_document, write_document
from dutchdoor.audit.service import Audit
from dutchdoor.clock import FixedClock
from dutchdoor.release.risk.amend import amend_figures
from dutchdoor.release.risk.assumptions import ASSUMPTIONS_NAME, load_assumptions
from dutchdoor.release.risk.estimate import Estimate, Subject, estimate
from dutchdoor.release.risk.evidence import Item, evidence_of, index
from dutchdoor.release.risk.model import CustodyFacts
from dutchdoor.release.risk.worksheet import WORKSHEET_NAME, Facts, must_be_complete, rows_of

EXAMPLE = Path(__file__).parent / "risk-smollm2"
KEPT = ("estimate.json", "estimate.html", "levels.png")
"""What of the results lies beside the example; the page has all drawings."""
TABLE = "| kind | id | digest | says |\n|---|---|---|---|\n"
DEMO = "example: as 'dutchdoor demo' leaves it"
CUSTODY = CustodyFacts(
    threshold=2,
    custodians=3,
    keys_here=3,
    people=2,
    copies=1,
    egress_bytes_day=0,
    sealed_bytes=270_000_000,
    sources={
        "threshold": DEMO,
        "custodians": DEMO,
        "keys_here": DEMO,
        "people": DEMO,
        "copies": DEMO,
        "egress_bytes_day": DEMO,
        "sealed_bytes": "example: about the size of the sealed model",
    },
)


def linked(document: Document, items: tuple[Item, ...]) -> Document:
    """The worksheet with the digests of what it points at, and the table of all there is."""
    known = index(items)
    rows = []
    for row in document.front["rows"]:
        links = []
        for link in row["evidence"]:
            kind = next(iter(link))
            item = known.get((kind, link[kind]))
            links.append({**link, "digest": item.digest} if item else link)
        rows.append({**row, "evidence": links})
    before = document.body.partition(TABLE)[0]
    says = [" ".join(item.says.split()).replace("|", "/") for item in items]
    lines = [
        f"| {item.kind} | {item.name} | `{item.digest}` | {text} |\n"
        for item, text in zip(items, says, strict=True)
    ]
    return Document({**document.front, "rows": rows}, before + TABLE + "".join(lines))


def make(folder: Path) -> Estimate:
    """Link the worksheet in `folder`, check it, and estimate; the results are written there."""
    audit = Audit(AUDIT, example_trust(), FixedClock(STARTED_MS))
    subject, summary = audit.subject, audit.summary()
    assert summary is not None, "the example audit is completed"
    items = evidence_of(audit)
    path = folder / WORKSHEET_NAME
    document = linked(read_document(path), items)
    must_be_complete(document, Facts(subject.model, subject.bundle, subject.audit), items)
    write_document(path, document)
    rows = tuple(row.id for row in rows_of(document))
    made = estimate(
        Subject(subject.model, subject.bundle, summary.digest, digest_of(path), rows),
        load_assumptions(folder / ASSUMPTIONS_NAME),
        CUSTODY,
        amend_figures(audit.path, subject.bundle),
    )
    write_into(folder, made)
    for drawing in folder.glob("*.png"):
        if drawing.name not in KEPT:
            drawing.unlink()
    return made


if __name__ == "__main__":
    print(make(Path(sys.argv[1]) if sys.argv[1:] else EXAMPLE).digest)
