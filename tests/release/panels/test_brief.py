"""A briefing pack shows what its reader may see, says what it leaves out, and cannot be changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.examples.sign import EXAMPLE, example_trust
from dutchdoor.audit.documents.forms import SENSITIVITIES
from dutchdoor.audit.service import Audit
from dutchdoor.clock import FixedClock
from dutchdoor.errors import Invalid, NotFound, Refused, Tampered
from dutchdoor.evidence.decision import Trust
from dutchdoor.release.panels.brief import Brief, check_brief, write_brief
from tests.audit.documents.parts import K, Whole

SECRET = "how exactly it is done, in words that must stay here"
QUESTION = "May researchers read activations?"


def pack(
    folder: Path,
    reader: str = "public",
    found: Audit | None = None,
    trust: Trust | None = None,
    added: dict[str, bytes] | None = None,
) -> Brief:
    return write_brief(
        folder,
        question=QUESTION,
        options=("yes", "no"),
        audit=found or Audit(EXAMPLE, example_trust(), FixedClock()),
        trust=trust or example_trust(),
        reader=reader,
        decision="# The proposal\n",
        added=added,
    )


def test_a_sensitive_document_leaves_its_title_and_digest_and_not_a_word(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.change(K.T2, sensitivity="confidential", title=SECRET)
    whole.change(K.S1, sensitivity="infohazard", purpose=SECRET)
    whole.sign(K.S1)

    def left_out(reader: str) -> tuple[str, ...]:
        return pack(tmp_path / reader, reader, whole.audit, whole.trust).redacted

    packs = {reader: left_out(reader) for reader in SENSITIVITIES}
    for reader in SENSITIVITIES[:-1]:
        assert "S1" in packs[reader]
        readme = (tmp_path / reader / "README.md").read_text()
        assert whole.folder.digests()[K.S1] in readme
        assert "infohazard" in readme
        pages = [page for page in (tmp_path / reader).rglob("*") if page.is_file()]
        assert not any(SECRET in page.read_text() for page in pages)
    assert "S1" not in packs["infohazard"]
    # What the tests found is told in numbers to whom may not read the tests.
    for reader, told in (("public", "redacted"), ("infohazard", "audit found")):
        assert told in (tmp_path / reader / "findings.md").read_text()


def test_the_pack_holds_question_proposal_and_what_was_added(tmp_path: Path) -> None:
    found = pack(tmp_path / "pack", added={"worksheet.md": b"# risks\n"})
    assert {"README.md", "decision.md", "findings.md", "added/worksheet.md"} <= set(found.files)
    assert QUESTION in (tmp_path / "pack" / "README.md").read_text()
    assert check_brief(tmp_path / "pack", found.digest) == found


def test_a_word_changed_a_file_added_or_one_taken_away_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    found = pack(folder)
    page = folder / "decision.md"
    page.write_text("# The other proposal\n")
    with pytest.raises(Tampered, match=r"decision\.md"):
        check_brief(folder, found.digest)
    page.write_text("# The proposal\n")
    (folder / "leaflet.md").write_text("vote yes")
    with pytest.raises(Tampered, match="added"):
        check_brief(folder, found.digest)
    (folder / "leaflet.md").unlink()
    page.unlink()
    with pytest.raises(Tampered, match="missing"):
        check_brief(folder, found.digest)


def test_another_pack_is_not_the_one_that_was_opened_with(tmp_path: Path) -> None:
    pack(tmp_path / "pack")
    with pytest.raises(Tampered, match="not the briefing pack"):
        check_brief(tmp_path / "pack", "sha256:" + "0" * 64)
    with pytest.raises(NotFound):
        check_brief(tmp_path / "nowhere")


def test_an_unknown_reader_a_full_folder_and_a_path_as_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no level"):
        pack(tmp_path / "a", "everybody")
    assert not (tmp_path / "a").exists()
    with pytest.raises(Invalid, match="plain file name"):
        pack(tmp_path / "b", added={"../out.md": b""})
    pack(tmp_path / "c")
    with pytest.raises(Refused, match="not an empty folder"):
        pack(tmp_path / "c")
