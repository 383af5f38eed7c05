"""Nobody approves a decision on an audit that they signed, also not later under another role."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dutchdoor.errors import Refused
from dutchdoor.release.terms import must_be_apart
from tests.audit.parts import People, Recorder, completed


def test_a_key_that_signed_the_audit_cannot_approve(tmp_path: Path) -> None:
    people = People()
    summary = completed(tmp_path, people, Recorder())
    assert summary.auditor_keys == ()
    audited = replace(summary, auditor_keys=(people.first.id,))
    must_be_apart(audited, [people.second.id, people.third.id])
    with pytest.raises(Refused) as caught:
        must_be_apart(audited, [people.second.id, people.first.id])
    assert caught.value.code == "duties_not_separate"
