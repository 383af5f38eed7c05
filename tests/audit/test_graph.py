"""The order of the documents is the method's, whichever of them an audit has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.audit.graph import needs_of, standings
from dutchdoor.audit.model import SPECIFICATIONS, DocumentKind, DocumentState, Signature
from dutchdoor.audit.template import TEMPLATES, fresh

kinds = st.sets(st.sampled_from(list(DocumentKind)), min_size=1)


def signature(kind: DocumentKind, digest: str, on: dict[DocumentKind, str]) -> Signature:
    return Signature(kind, digest, on, "ada", "ed25519:0", 0)


def test_every_document_of_the_method_is_specified_in_order() -> None:
    assert list(SPECIFICATIONS) == list(DocumentKind)
    for kind, row in SPECIFICATIONS.items():
        assert row.kind is kind
        order = list(DocumentKind)
        assert all(order.index(need) < order.index(kind) for need in row.needs), kind


@given(kinds)
def test_signed_in_order_all_is_signed_and_nothing_needs_itself(present: set[DocumentKind]) -> None:
    digests = {kind: f"digest of {kind}" for kind in present}
    signatures: dict[DocumentKind, Signature] = {}
    for kind in DocumentKind:
        if kind in present:
            assert standings(digests, signatures)[kind].state is DocumentState.OPEN
            needs = needs_of(kind, present)
            on = {need: digests[need] for need in needs}
            signatures[kind] = signature(kind, digests[kind], on)
    assert {row.state for row in standings(digests, signatures).values()} == {DocumentState.SIGNED}


@given(kinds, st.data())
def test_a_changed_document_reopens_exactly_what_stands_on_it(
    present: set[DocumentKind], data: st.DataObject
) -> None:
    digests = {kind: f"digest of {kind}" for kind in present}
    signatures = {
        kind: signature(
            kind, digests[kind], {need: digests[need] for need in needs_of(kind, present)}
        )
        for kind in present
    }
    changed = data.draw(st.sampled_from(sorted(present)))
    found = standings({**digests, changed: "another"}, signatures)
    assert found[changed].state is DocumentState.CHANGED
    standing_on: set[DocumentKind] = {changed}
    for kind in DocumentKind:
        if kind in present and standing_on & set(needs_of(kind, present)):
            standing_on.add(kind)
    for kind in present - {changed}:
        expected = DocumentState.REOPENED if kind in standing_on else DocumentState.SIGNED
        assert found[kind].state is expected


def test_a_missing_file_is_missing() -> None:
    found = standings({DocumentKind.S0: "", DocumentKind.S2: "digest"}, {})
    assert found[DocumentKind.S0].state is DocumentState.MISSING
    assert found[DocumentKind.S2].state is DocumentState.WAITING


def test_every_template_is_complete_and_takes_any_name_as_text() -> None:
    hostile = "x\n---\nsigned: true #${audit} 'quote\": [a]"
    facts = dict.fromkeys(("audit", "bundle", "model", "auditor", "objective", "started"), hostile)
    for kind in TEMPLATES:
        document = fresh(kind, facts)
        again = type(document).decode(document.encode())
        assert again.front == document.front
        assert again.front["model"] == hostile
        assert "signed" not in again.front
