"""Readers see only what was signed, notice news at once, and never trust a file by its name."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dutchdoor.errors import Invalid, NotFound, Tampered
from dutchdoor.evidence import merkle
from dutchdoor.evidence.note import VerifierKey
from dutchdoor.evidence.reader import LogReader
from tests.evidence.parts import LOG, ORIGIN, Workspace, small

KEY = VerifierKey(ORIGIN, LOG.public_key)


def test_a_reader_follows_batch_by_batch(workspace: Workspace) -> None:
    log = workspace.create()
    reader = LogReader(workspace.folder, KEY)
    assert reader.size() == 1
    for count in (1, 2, 254, 1, 255, 1, 300, 511, 2):
        assert not reader.changed()
        assert not reader.refresh()
        log.append([small(count)] * count)
        assert reader.changed()
        assert reader.refresh()
        assert reader.head() == log.head()
    assert list(reader.entries()) == list(log.view.entries())
    assert list(reader.entries(250, 520)) == list(log.view.entries(250, 520))
    assert list(LogReader(workspace.folder).entries()) == list(reader.entries())


def test_a_reader_notices_each_of_many_quick_changes(workspace: Workspace) -> None:
    log = workspace.create()
    reader = LogReader(workspace.folder, KEY)
    for number in range(300):
        log.append([small(number)])
        assert reader.changed()
        reader.refresh()
        assert reader.size() == number + 2


def test_asking_for_news_costs_little(workspace: Workspace) -> None:
    workspace.create()
    reader = LogReader(workspace.folder, KEY)
    begin = time.process_time()
    for _ in range(1000):
        reader.changed()
    assert (time.process_time() - begin) / 1000 < 0.001


def test_views_of_the_past_stay_what_they_were(workspace: Workspace) -> None:
    log = workspace.create()
    log.append([small(1)] * 300)
    view = LogReader(workspace.folder, KEY).view
    entries = list(view.entries())
    log.append([small(2)] * 700)
    assert list(view.entries()) == entries
    assert merkle.root(200, view.hash_of) == merkle.root(200, log.view.hash_of)
    assert view.inclusion(299)


def test_out_of_range_is_refused(workspace: Workspace) -> None:
    reader_of = workspace.create().view
    for start, stop in ((0, 2), (-1, 1), (1, 0)):
        with pytest.raises(Invalid):
            list(reader_of.entries(start, stop))
    for index in (-1, 1):
        with pytest.raises(NotFound):
            reader_of.entry(index)
    with pytest.raises(Invalid):
        reader_of.consistency(1, 2)


def change(path: Path, place: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


def test_a_changed_bundle_is_never_handed_out(workspace: Workspace) -> None:
    log = workspace.create()
    log.append([small(number) for number in range(600)])
    reader = LogReader(workspace.folder, KEY)
    change(workspace.folder / "tile" / "entries" / "001", 100)
    for view in (reader.view, log.view, LogReader(workspace.folder, KEY).view):
        assert len(list(view.entries(0, 256))) == 256
        with pytest.raises(Tampered) as caught:
            list(view.entries(0, 300))
        assert caught.value.where == "tile/entries/001"
    (workspace.folder / "tile" / "entries" / "001").unlink()
    with pytest.raises(Tampered):
        list(reader.entries(256, 257))


def test_a_changed_tile_stops_a_new_reader(workspace: Workspace) -> None:
    workspace.create().append([small(number) for number in range(600)])
    change(workspace.folder / "tile" / "0" / "001", 100)
    with pytest.raises(Tampered):
        LogReader(workspace.folder, KEY)


def test_a_changed_tail_stops_a_reader(workspace: Workspace) -> None:
    log = workspace.create()
    reader = LogReader(workspace.folder, KEY)
    log.append([small(1)])
    change(workspace.folder / "journal" / "000000", -40)
    with pytest.raises(Tampered):
        reader.refresh()
    assert reader.size() == 1, "what was known before stays"


def test_a_log_rolled_back_under_a_reader_is_noticed(workspace: Workspace) -> None:
    log = workspace.create()
    log.append([small(1)])
    old = {
        name: (workspace.folder / name).read_bytes() for name in ("checkpoint", "journal/000000")
    }
    log.append([small(2)])
    reader = LogReader(workspace.folder, KEY)
    for name, data in old.items():
        (workspace.folder / name).write_bytes(data)
    with pytest.raises(Tampered) as caught:
        reader.refresh()
    assert caught.value.where == "checkpoint"
    assert reader.size() == 3


def test_an_unsigned_checkpoint_is_not_believed(workspace: Workspace) -> None:
    log = workspace.create()
    reader = LogReader(workspace.folder, KEY)
    log.append([small(1)])
    change(workspace.folder / "checkpoint", -10)
    with pytest.raises(Invalid):
        reader.refresh()
    assert reader.size() == 1
