"""Each rule that a log's entries must keep, broken once: the verifier names the entry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dutchdoor.evidence.verify
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.statement import key_id
from dutchdoor.evidence.trust import encode_trust
from dutchdoor.evidence.verify.history import FIELDS
from dutchdoor.evidence.verify.verifier import verify
from dutchdoor.ids import DecisionId
from tests.evidence.parts import (
    BEGIN_MS,
    CLOSED,
    DECISION,
    END_MS,
    HOLDER,
    ORIGIN,
    STRANGER,
    TRUST,
    Workspace,
    audit_signed,
    begun,
    decision_entry,
    done,
    key_released,
    lost,
    outputs_written,
    revocation_entry,
    runtime_started,
    sealed,
    small,
    write_journal,
)

TRUST_BYTES = encode_trust(TRUST)
PACKAGE = Path(dutchdoor.evidence.verify.__file__).parent


def findings(workspace: Workspace, *entries: Entry) -> list[str]:
    """What the verifier says about a log of `entries` (from index 1): `entry N: what`."""
    workspace.create().append(list(entries))
    report = verify(workspace.folder, TRUST_BYTES)
    return [f"{row.where.split(' (')[0]}: {row.what}" for row in report.findings]


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b'{"body": {}}', "canonical"),
        (b"\xff", "canonical"),
        (b"[]", "fields missing"),
        (b'{"body":{},"kind":"party","time_ms":1,"v":1}', "unknown kind"),
        (b'{"body":{},"kind":["x"],"time_ms":1,"v":1}', "unknown kind"),
        (b'{"body":{},"kind":"person_removed","time_ms":1,"v":2}', "version 1"),
        (b'{"body":{},"kind":"person_removed","time_ms":true,"v":1}', "version 1"),
        (b'{"body":{},"kind":"person_removed","time_ms":1,"v":1}', "'person'"),
        (b'{"body":{"person":3},"kind":"person_removed","time_ms":1,"v":1}', "'person'"),
        (b'{"body":{"origin":"x"},"kind":"log_opened","time_ms":1,"v":1}', "no other"),
    ],
)
def test_an_entry_out_of_form_is_found(workspace: Workspace, raw: bytes, what: str) -> None:
    opened = Entry(EntryKind.LOG_OPENED, BEGIN_MS, {"origin": ORIGIN}).encode()
    write_journal(workspace.folder, [opened, raw, small(1).encode()])
    (finding,) = verify(workspace.folder, TRUST_BYTES).findings
    assert finding.where.startswith("entry 1 (journal/000000 bytes ")
    assert what in finding.what


def test_a_log_that_does_not_begin_with_its_name_is_found(workspace: Workspace) -> None:
    write_journal(workspace.folder, [small(1).encode()])
    (finding,) = verify(workspace.folder, TRUST_BYTES).findings
    assert finding.where.startswith("entry 0 ")


ENTRIES: dict[str, tuple[list[Entry], str]] = {
    "no decision at all": ([begun()], "entry 1: inference_begun without a decision in force"),
    "a key without a decision": ([key_released()], "entry 1: key_released without"),
    "a runtime without a decision": ([runtime_started()], "entry 1: runtime_started without"),
    "before the decision": ([begun(), decision_entry()], "entry 1: inference_begun without"),
    "after the revocation": (
        [decision_entry(), revocation_entry(), begun()],
        "entry 3: inference_begun without a decision in force: decision_one was revoked",
    ),
    "under a decision without signatures": (
        [decision_entry(signers=(STRANGER,)), begun()],
        "entry 1: 0 trusted signatures",
    ),
    "another bundle's decision": (
        [decision_entry(), begun(bundle="sha256:" + "ee" * 32)],
        "entry 2: inference_begun without",
    ),
    "another decision's name": (
        [decision_entry(), begun("inf_1", replace(DECISION, id=DecisionId("decision_two")))],
        "entry 2: inference_begun without a decision in force: decision_two is not the decision",
    ),
    "after its end": (
        [decision_entry(), replace(begun(), time_ms=END_MS)],
        "entry 2: inference_begun without a decision in force: decision_one is not in force at",
    ),
    "before its begin": (
        [decision_entry(), replace(begun(), time_ms=BEGIN_MS - 1)],
        "entry 2: inference_begun without",
    ),
    "deeper than the decision": (
        [decision_entry(), begun(depths=["sampling", "gradients"])],
        "entry 2: the decision in force opens no depth 'gradients' to person_1",
    ),
    "somebody the decision leaves out": (
        [decision_entry(CLOSED, (HOLDER,)), begun("inf_1", CLOSED)],
        "entry 2: the decision in force opens no depth 'sampling' to person_1",
    ),
    "one custodian alone": (
        [sealed(), decision_entry(), key_released(custodians=["ann"])],
        "entry 3: the key was released by 1 custodians, too few",
    ),
    "one custodian twice": (
        [sealed(), decision_entry(), key_released(custodians=["ann", "ann"])],
        "entry 3: the key was released by 1 custodians, too few",
    ),
    "a begin twice": ([decision_entry(), begun(), begun()], "entry 3: inf_1 begins a second time"),
    "an end twice": (
        [decision_entry(), begun(), done(2), done(2)],
        "entry 4: inf_1 ends a second time",
    ),
    "lost after its end": (
        [decision_entry(), begun(), done(2), lost(2)],
        "entry 4: inf_1 ends a second time",
    ),
    "an end without a begin": ([done(0)], "entry 1: inf_1 ends and never began"),
    "an end that names another begin": (
        [decision_entry(), begun(), done(1)],
        "entry 3: inf_1 began at entry 2, not 1",
    ),
    "outputs that nobody trusted signed": (
        [outputs_written(STRANGER)],
        "entry 1: the outputs of an audit: 0 trusted signatures",
    ),
    "outputs of a summary that nobody signed": (
        [outputs_written(summary="sha256:" + "44" * 32)],
        "entry 1: the outputs of an audit name a summary that does not stand before them",
    ),
    "outputs before their summary": (
        [outputs_written(summary=audit_signed().body["summary"]), audit_signed()],
        "entry 1: the outputs of an audit name a summary",
    ),
    "outputs that say other than their envelope": (
        [audit_signed(), outputs_written(summary="", bundle="sha256:" + "ee" * 32)],
        "entry 2: the outputs of an audit do not say what their envelope says",
    ),
    "outputs under another digest": (
        [outputs_written(outputs="sha256:" + "55" * 32)],
        "entry 1: the outputs of an audit do not say what their envelope says",
    ),
    "a completion that is no commitment": (
        [decision_entry(), begun(), done(2, completion="the text itself")],
        "entry 3: inference_done without a proper field 'completion'",
    ),
}


def test_signed_outputs_hold_and_drafts_hold_without_a_summary(workspace: Workspace) -> None:
    summary = audit_signed().body["summary"]
    entries = (outputs_written(), audit_signed(), outputs_written(summary=summary))
    assert findings(workspace, *entries) == []


def test_where_auditors_are_named_only_they_sign_outputs(workspace: Workspace) -> None:
    workspace.create().append([outputs_written(HOLDER)])
    trust = replace(TRUST, auditors={key_id(STRANGER.public_key): STRANGER.public_key})
    (finding,) = verify(workspace.folder, encode_trust(trust)).findings
    assert "0 trusted signatures" in finding.what


@pytest.mark.parametrize("name", ENTRIES)
def test_a_broken_rule_is_found_at_its_entry(workspace: Workspace, name: str) -> None:
    entries, expected = ENTRIES[name]
    found = findings(workspace, *entries)
    assert any(line.startswith(expected) for line in found), found


def test_a_hostile_log_gives_findings_and_never_an_exception(workspace: Workspace) -> None:
    bad: list[Any] = [1, None, True, [], {}, "", "x", {"a": []}, [[]], 2**53 - 1]
    template = {kind: dict.fromkeys(fields) for kind, fields in FIELDS.items()}
    entries = [Entry(EntryKind.LOG_OPENED, BEGIN_MS, {"origin": ORIGIN}).encode()]
    for kind, body in template.items():
        bodies = [dict.fromkeys(body, value) for value in bad]
        entries += [Entry(EntryKind(kind), 1, body).encode() for body in bodies]
    write_journal(workspace.folder, entries)
    assert len(verify(workspace.folder, TRUST_BYTES).findings) > 100
