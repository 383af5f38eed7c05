"""The log: order, durability of one batch, several writers, proofs, receipts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dutchdoor.errors import Invalid, NotFound, Refused, Tampered, Unavailable
from dutchdoor.evidence import merkle
from dutchdoor.evidence.export import export
from dutchdoor.evidence.files import Files
from dutchdoor.evidence.journal import FRAME_ENTRIES_MAX, SEGMENT_ENTRIES
from dutchdoor.evidence.log import Log
from dutchdoor.evidence.merkle import leaf_hash
from dutchdoor.evidence.model import Entry, EntryKind, Opening, Recorded, commit
from dutchdoor.evidence.note import VerifierKey
from dutchdoor.evidence.reader import LogReader
from tests.check_log import check_log
from tests.evidence.parts import (
    BEGIN_MS,
    LOG,
    ORIGIN,
    STRANGER,
    TRUST,
    Workspace,
    begun,
    decision_entry,
    done,
    small,
)

KEY = VerifierKey(ORIGIN, LOG.public_key)
FORMATS = json.loads((Path(__file__).parent / "vectors" / "formats.json").read_text())


def test_a_new_log_begins_with_its_own_name(workspace: Workspace) -> None:
    log = workspace.create()
    assert log.head().size == 1
    assert Entry.decode(log.view.entry(0)).body == {"origin": ORIGIN}
    assert log.key == KEY
    check_log(workspace.folder, TRUST)


def test_what_was_recorded_is_there_after_reopening(workspace: Workspace) -> None:
    log = workspace.create()
    recorded = log.append([small(1), small(2)])
    assert [row.index for row in recorded] == [1, 2]
    log.close()
    again = workspace.open()
    assert again.head() == log.head()
    assert again.view.entry(2) == recorded[1].data
    assert again.append([small(3)])[0].index == 3
    check_log(workspace.folder, TRUST)


def test_bytes_on_disk_are_those_of_the_published_format(workspace: Workspace) -> None:
    log = workspace.create()
    log.append([decision_entry(), small(1)])
    log.append([small(2)])
    journal = (workspace.folder / "journal" / "000000").read_bytes()
    assert journal.hex() == FORMATS["journal"]
    assert (workspace.folder / "checkpoint").read_bytes().hex() == FORMATS["checkpoint"]
    receipt = log.receipt(2, {"prompt": Opening(b"s" * 16, b"content")})
    assert receipt.hex() == FORMATS["receipt"]


def test_no_second_log_is_made_over_a_first(workspace: Workspace) -> None:
    workspace.create().close()
    before = (workspace.folder / "journal" / "000000").read_bytes()
    with pytest.raises(Invalid) as caught:
        workspace.create()
    assert caught.value.code == "log_exists"
    assert (workspace.folder / "journal" / "000000").read_bytes() == before


def test_no_log_is_opened_where_none_is(workspace: Workspace) -> None:
    with pytest.raises(NotFound):
        workspace.open()
    assert not workspace.folder.exists()
    with pytest.raises(NotFound):
        LogReader(workspace.folder)


@pytest.mark.parametrize("origin", ["", "two words", "a+b", "a\nb"])
def test_a_name_that_no_note_can_carry_is_refused(workspace: Workspace, origin: str) -> None:
    with pytest.raises(Invalid):
        Log.create(workspace.folder, LOG, origin, workspace.clock)
    assert not workspace.folder.exists()


def test_another_key_cannot_open_the_log(workspace: Workspace) -> None:
    workspace.create().close()
    before = (workspace.folder / "journal" / "000000").read_bytes()
    with pytest.raises(Tampered):
        Log(workspace.folder, STRANGER, workspace.clock)
    assert (workspace.folder / "journal" / "000000").read_bytes() == before
    with pytest.raises(Invalid):
        LogReader(workspace.folder, VerifierKey(ORIGIN, STRANGER.public_key))


def test_an_entry_that_has_no_place_keeps_its_whole_batch_out(workspace: Workspace) -> None:
    log = workspace.create()
    long = Entry(EntryKind.PERSON_REMOVED, BEGIN_MS, {"person": "x" * 70_000})
    with pytest.raises(Invalid) as caught:
        log.append([small(1), long])
    assert caught.value.code == "entry_too_long"
    floating = Entry(EntryKind.PERSON_REMOVED, BEGIN_MS, {"person": 1.5})
    with pytest.raises(Invalid):
        log.append([small(1), floating])
    opened = Entry(EntryKind.LOG_OPENED, BEGIN_MS, {"origin": ORIGIN})
    with pytest.raises(Refused):
        log.append([small(1), opened])
    assert log.refresh().size == 1
    outcomes = log.append_each([small(1), long, opened, small(2)])
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [Recorded, Invalid, Refused, Recorded]
    assert log.head().size == 3
    check_log(workspace.folder, TRUST)


def test_a_closed_log_takes_nothing(workspace: Workspace) -> None:
    log = workspace.create()
    log.close()
    with pytest.raises(Unavailable):
        log.append([small(1)])
    assert workspace.open().head().size == 1


class CountingFiles(Files):
    flushes = 0

    def flush(self, descriptor: int) -> None:
        self.flushes += 1
        super().flush(descriptor)


def test_a_batch_costs_one_flush(workspace: Workspace) -> None:
    files = CountingFiles()
    log = workspace.create(files=files)
    before = files.flushes
    log.append([small(number) for number in range(1000)])
    assert files.flushes == before + 1


def test_large_batches_bundles_and_segments_hold(workspace: Workspace) -> None:
    log = workspace.create()
    batch = [small(number) for number in range(FRAME_ENTRIES_MAX + 500)]
    while log.head().size < SEGMENT_ENTRIES + 300:
        log.append(batch)
    assert (workspace.folder / "journal" / "000001").exists()
    reader = LogReader(workspace.folder, KEY)
    opened = workspace.open()
    assert reader.head() == opened.head() == log.head()
    last = log.append([small(7)])[0]
    assert reader.refresh()
    assert reader.view.entry(last.index) == last.data
    for index in (0, 255, 256, SEGMENT_ENTRIES - 1, SEGMENT_ENTRIES, last.index):
        for view in (reader.view, log.view, opened.refresh()):
            proof = view.inclusion(index)
            leaf = leaf_hash(view.entry(index))
            merkle.verify_inclusion(leaf, index, view.size, proof, view.checkpoint.root)
    for old in (1, 255, 257, SEGMENT_ENTRIES, SEGMENT_ENTRIES + 5):
        proof = log.view.consistency(old)
        head, root = log.head(), merkle.root(old, log.view.hash_of)
        merkle.verify_consistency(old, root, head.size, head.root, proof)
    check_log(workspace.folder, TRUST, {"r": log.receipt(SEGMENT_ENTRIES + 2)})


def test_a_process_that_slept_through_a_segment_goes_on(workspace: Workspace) -> None:
    sleeper = workspace.create()
    reader = LogReader(workspace.folder, KEY)
    busy = workspace.open()
    while busy.head().size < SEGMENT_ENTRIES + 10:
        busy.append([small(number) for number in range(FRAME_ENTRIES_MAX)])
    size = busy.head().size
    assert sleeper.append([small(1)])[0].index == size
    assert reader.refresh()
    assert reader.size() == size + 1
    assert busy.append([small(2)])[0].index == size + 1
    check_log(workspace.folder, TRUST)


CHILD = """
import sys
from pathlib import Path
from tests.evidence.parts import Workspace, small
from dutchdoor.clock import FixedClock
log = Workspace(Path(sys.argv[1]), FixedClock()).open()
for number in range(int(sys.argv[2])):
    rows = log.append([small(number)] * (1 + number % 3))
    print(rows[0].index, len(rows), flush=True)
"""


def test_two_processes_that_append_make_one_order(workspace: Workspace) -> None:
    workspace.create().close()
    arguments = [sys.executable, "-c", CHILD, str(workspace.folder), "200"]
    children = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [child.communicate(timeout=120)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    taken: set[int] = set()
    for output in outputs:
        for line in output.splitlines():
            index, count = map(int, line.split())
            places = set(range(index, index + count))
            assert not places & taken
            taken |= places
    report = check_log(workspace.folder, TRUST)
    assert taken == set(range(1, report.entries))


def test_a_holder_that_stands_still_makes_others_unavailable(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = workspace.create()
    other = workspace.open()
    monkeypatch.setattr("dutchdoor.evidence.lock.LOCK_WAIT_MS_MAX", 50)
    with other._lock.held(), pytest.raises(Unavailable) as caught:
        log.append([small(1)])
    assert caught.value.code == "log_locked"
    assert log.append([small(1)])[0].index == 1


def test_an_export_is_a_plain_c2sp_log(workspace: Workspace, tmp_path: Path) -> None:
    log = workspace.create()
    log.append([small(number) for number in range(600)])
    destination = tmp_path / "export"
    export(log.view, destination)
    names = {p.relative_to(destination).as_posix() for p in destination.rglob("*") if p.is_file()}
    assert names == {
        "checkpoint",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/89",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/89",
    }
    assert check_log(destination, TRUST).entries == 601
    with pytest.raises(Invalid):
        export(log.view, destination)


def test_receipts_of_any_age_stay_good(workspace: Workspace) -> None:
    log = workspace.create()
    opening = Opening(b"0123456789abcdef", b"what was asked")
    log.append([decision_entry()])
    first = log.append([begun(prompt=commit(opening))])[0]
    receipts = {"early": log.receipt(first.index, {"prompt": opening})}
    log.append([done(first.index)])
    log.append([small(number) for number in range(1000)])
    receipts["late"] = log.receipt(first.index, {"prompt": opening})
    report = check_log(workspace.folder, TRUST, receipts)
    assert (report.receipts, report.inferences, report.decisions) == (2, 1, 1)
    with pytest.raises(NotFound):
        log.receipt(99_999)
