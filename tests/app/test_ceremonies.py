"""An opening across machines: every share is judged at home, recorded first, and good once."""

from __future__ import annotations

import contextlib
import copy
import errno
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dutchdoor.app.ceremonies import Plan, deposit, waiting
from dutchdoor.app.desk import Answers, make_server
from dutchdoor.app.granting import Desk
from dutchdoor.app.workspace import open_workspace
from dutchdoor.config import Places
from dutchdoor.custody.messages import Ceremony, OpenRequest, ShareGrant, ShareRelease
from dutchdoor.custody.shares import key_commitment
from dutchdoor.errors import DutchdoorError, Invalid, NotFound
from tests.app.apart import Apart, until
from tests.check_log import check_log

PASSPHRASE = "correct horse battery staple\n"


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    found = Apart(tmp_path_factory.mktemp("apart"))
    yield found
    check_log(found.places.evidence, found.places.trust)


def refusal(apart: Apart, data: bytes) -> str:
    """Why a share is not taken in; what waits is as it was before."""
    before = [row.granted for row in waiting(apart.workspace)]
    with pytest.raises(DutchdoorError) as caught:
        deposit(apart.workspace, data)
    assert [row.granted for row in waiting(apart.workspace)] == before
    return caught.value.code


def test_two_of_three_elsewhere_open_it_and_the_log_has_it_first(apart: Apart) -> None:
    locked = apart.at("one", "custody", "lock", "one", "--passphrase", secret=PASSPHRASE)
    assert locked.value["lock"] == "passphrase", locked.said
    with apart.ceremony("the weekly service") as waits:
        assert apart.grant("one", waits.request, secret=PASSPHRASE).error == "log_behind"
        apart.bring_log("one")
        assert apart.grant("one", waits.request, secret="what was it again\n").error == "key_locked"
        first = apart.grant("one", waits.request, secret=PASSPHRASE)
        assert "the weekly service" in first.said
        second = apart.share("two", waits.request)
        assert apart.kinds()[-1] == "key_requested", "granting alone releases nothing"
        assert apart.home("custody", "open", str(first.value["share"])).value["have"] == 1
        assert apart.home("custody", "pending").value[0]["granted"] == ["one"]
        assert apart.home("custody", "open", second).value["have"] == 2
        opened = waits.finished().opened
    assert opened is not None
    assert key_commitment(opened.key) == apart.bundle.manifest.content.commitment
    assert apart.kinds()[-2:] == ["key_requested", "key_released"]
    assert not waiting(apart.workspace)


def test_a_share_is_given_once_for_one_request(apart: Apart) -> None:
    with apart.ceremony() as waits:
        share = Path(apart.share("two", waits.request))
        again = apart.grant("two", waits.request, "--out", str(apart.root / "again.share"))
        assert again.error == "request_replayed"
        deposit(apart.workspace, share.read_bytes())
        assert refusal(apart, share.read_bytes()) == "duplicate_custodian"


def test_wrong_shares_never_reach_the_runtime(apart: Apart) -> None:
    with apart.ceremony() as waits:
        data = Path(apart.share("two", waits.request)).read_bytes()
        grant = ShareGrant.decode(data)
        release = ShareRelease.decode(grant.release)
        sealed = bytes([release.sealed[0] ^ 1]) + release.sealed[1:]
        three = apart.bundle.manifest.terms.custodians[2]
        wrong = {
            "a byte of the share changed": replace(release, sealed=sealed),
            "another custodian's name": replace(release, custodian=three),
            "another place": replace(release, index=2),
            "another quorum": replace(release, threshold=3),
        }
        for name, changed in wrong.items():
            forged = ShareGrant(changed.encode(), grant.proof).encode()
            assert refusal(apart, forged) == "wrong_proof", name
        other = replace(release, custodian="xwing:0123456789abcdef")
        assert refusal(apart, ShareGrant(other.encode(), b"").encode()) == "not_a_custodian"
        unproven = ShareGrant(grant.release, b"").encode()
        assert refusal(apart, unproven) == "wrong_proof"
        for other_bytes in (b"", b"{}", b"null", data[:-1], data + b" ", b"\xff" * 100):
            assert refusal(apart, other_bytes) in {"bad_grant", "not_canonical"}


def test_a_wrong_file_put_into_the_folder_is_thrown_out_and_told(apart: Apart) -> None:
    with apart.ceremony() as waits:
        folder = waiting(apart.workspace)[-1].folder
        (folder / "xwing-0123456789abcdef.share").write_bytes(b"{}")
        until(lambda: not list(folder.glob("*.share")))
        assert any("refused" in said for said in waits.said)


def test_a_share_for_a_former_request_opens_nothing(apart: Apart) -> None:
    with apart.ceremony("the first") as waits:
        old = Path(apart.share("two", waits.request)).read_bytes()
    with apart.ceremony("the second"):
        assert refusal(apart, old) == "no_opening"


def test_a_share_of_another_bundle_is_not_of_this_one(apart: Apart, tmp_path: Path) -> None:
    other = Apart(tmp_path)
    with other.ceremony() as theirs, apart.ceremony():
        share = Path(other.share("two", theirs.request)).read_bytes()
        assert refusal(apart, share) == "no_opening"
        # Their request, brought to one of our custodians, who trusts another holder.
        apart.bring_log("two")
        assert apart.grant("two", theirs.request).error == "too_few_signatures"


def test_an_expired_request_is_granted_by_nobody_and_ends_the_wait(apart: Apart) -> None:
    with apart.ceremony(lifetime_ms=1_500) as waits:
        apart.bring_log("two")
        failure = waits.finished().failure
        assert failure is not None
        assert failure.code == "request_expired"
        assert apart.grant("two", waits.request).error == "request_expired"
    assert apart.kinds()[-1] == "key_requested"


def test_a_request_that_nobody_recorded_is_granted_by_nobody(apart: Apart) -> None:
    """A broker can make a request of its own; it cannot make the log say so."""
    with apart.ceremony() as waits:
        apart.bring_log("two")
        real = Ceremony.decode(waits.request.read_bytes())
        request = OpenRequest.decode(real.request)
        forged = apart.root / "forged.request"
        other = replace(request, nonce="0" * 64).encode()
        forged.write_bytes(replace(real, request=other).encode())
        assert apart.grant("two", forged).error == "not_recorded"
        forged.write_bytes(replace(real, entry=0).encode())
        assert apart.grant("two", forged).error == "not_recorded"
        forged.write_bytes(replace(real, shares=real.shares.replace(b"one", b"eno")).encode())
        assert apart.grant("two", forged).error == "other_bundle"


def test_a_log_that_forgot_something_is_not_believed(apart: Apart, tmp_path: Path) -> None:
    """Cut back before a revocation and signed again, it looks whole to who sees it first."""
    early = tmp_path / "early"
    shutil.copytree(apart.places.evidence, early)
    with apart.ceremony() as waits:
        apart.share("three", waits.request)
    # The holder of the log's key goes on from before, as if that had never been asked.
    places = Places(tmp_path / "fork")
    shutil.copytree(apart.places.root, places.root, ignore=shutil.ignore_patterns("run"))
    shutil.rmtree(places.evidence)
    shutil.copytree(early, places.evidence)
    forked = copy.copy(apart)
    forked.places = places
    with forked.ceremony() as waits:
        shutil.rmtree(apart.machine("three") / "evidence")
        shutil.copytree(places.evidence, apart.machine("three") / "evidence")
        ran = apart.grant("three", waits.request, "--out", str(tmp_path / "share"))
        assert ran.error in {"log_cut_back", "log_forked"}
        assert not (tmp_path / "share").exists()
    apart.bring_log("three")


def test_a_share_that_cannot_be_written_uses_no_key(apart: Apart) -> None:
    with apart.ceremony() as waits:
        apart.bring_log("two")
        taken = apart.root / "taken.share"
        taken.write_text("something else")
        assert apart.grant("two", waits.request, "--out", str(taken)).error == "target_exists"
        assert taken.read_text() == "something else"
        assert apart.grant("two", waits.request).code == 0, "the request is still unanswered"


def test_a_full_disk_leaves_no_half_share(apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    with apart.ceremony() as waits:
        share = Path(apart.share("two", waits.request)).read_bytes()
        folder = waiting(apart.workspace)[-1].folder
        before = sorted(path.name for path in folder.iterdir())

        def full(_handle: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(DutchdoorError) as caught:
                deposit(apart.workspace, share)
        assert caught.value.code == "opening_unavailable"
        assert sorted(path.name for path in folder.iterdir()) == before
        assert deposit(apart.workspace, share).have == 1


def test_what_waits_and_is_killed_leaves_nothing_to_open(apart: Apart) -> None:
    given = ["custody", "rotate", "--to", "2of3", "--reason", "killed", "--ceremony"]
    given += [part for name in ("one", "two", "three") for part in ("--custodian", name)]
    given += ["--workspace", str(apart.places.root)]
    process = subprocess.Popen(
        [sys.executable, "-m", "dutchdoor.cli.main", *given], stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: bool(waiting(apart.workspace)))
        request = apart.root / "killed.request"
        assert apart.home("custody", "request", "--out", str(request)).code == 0
        share = Path(apart.share("two", request)).read_bytes()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert refusal(apart, share) == "no_opening"
    assert not list(apart.places.openings.iterdir())
    assert apart.kinds()[-1] == "key_requested"


def test_a_ceremony_says_why(apart: Apart) -> None:
    for reason in ("", "  ", "x" * 501, "a\nb", "\x1b[2J"):
        with pytest.raises(Invalid):
            Plan("serve", reason, 1000)
    for lifetime_ms in (0, 86_400_001):
        with pytest.raises(Invalid):
            Plan("serve", "why", lifetime_ms)
    assert apart.home("custody", "request", "--out", str(apart.root / "none")).error == "no_opening"


def test_a_desk_takes_real_requests_only_and_holds_no_key(apart: Apart) -> None:
    machine = open_workspace(Places(apart.machine("two")))
    answers = Answers(machine.places.desk)
    server = make_server(0, lambda data: Desk(machine).look(data), answers, machine.clock.now_ms)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        with apart.ceremony("over HTTP") as waits:
            behind = apart.home("custody", "request", "--to", url)
            assert behind.error == "custodian_unavailable", "its log does not know the request yet"
            apart.bring_log("two")
            assert apart.home("custody", "request", "--to", url).code == 0
            (name,) = answers.waiting()
            assert apart.home("custody", "open", "--from", url).error == "custodian_waits"
            key = apart.key("two").rename(apart.root / "away.key")
            assert apart.grant("two", Path(name[:12])).error == "key_not_found"
            key.rename(apart.key("two"))
            assert apart.grant("two", Path(name[:12])).code == 0
            assert apart.home("custody", "open", "--from", url).value["have"] == 1
            deposit(apart.workspace, Path(apart.share("three", waits.request)).read_bytes())
            assert waits.finished().opened is not None
        with apart.ceremony("refused"):
            apart.bring_log("two")
            apart.home("custody", "request", "--to", url)
            (name,) = answers.waiting()
            apart.at("two", "custody", "refuse", name[:12], "--reason", "not today")
            said = apart.home("custody", "open", "--from", url)
            assert said.error == "custodian_refused"
            assert "not today" in said.said
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"host": "127.0.0.1.evil"}],
)
def test_a_page_in_the_custodians_browser_reaches_no_desk(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    server = make_server(0, lambda _data: None, Answers(tmp_path / "desk"), lambda: 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        port = server.server_address[1]
        for method, path in (("POST", "/requests"), ("GET", "/requests/" + "0" * 64)):
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
            connection.request(method, path, b"{}" if method == "POST" else None, headers)
            assert connection.getresponse().status == 404
            connection.close()
        assert not (tmp_path / "desk").exists()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_revocation_between_grant_and_opening_wins(apart: Apart) -> None:
    """Last in this file: it ends the decision that the others stand under."""
    with apart.ceremony() as waits:
        shares = [Path(apart.share(n, waits.request)).read_bytes() for n in ("two", "three")]
        deposit(apart.workspace, shares[0])
        given = ("--reason", "over", "--as", "holder")
        assert apart.home("release", "revoke", apart.decision().id, *given).code == 0
        with contextlib.suppress(NotFound):
            # It may have noticed already, and waits no more.
            deposit(apart.workspace, shares[1])
        failure = waits.finished().failure
        assert failure is not None
        assert failure.code == "revoked"
        apart.bring_log("one")
        late = apart.grant("one", waits.request, secret=PASSPHRASE)
        assert late.error == "revoked", "by the custodian's own look at the log"
    kinds = apart.kinds()
    assert "key_released" not in kinds[kinds.index("decision_revoked") :]


def test_the_request_is_one_json_document_that_people_can_look_at(tmp_path: Path) -> None:
    found = Apart(tmp_path)
    with found.ceremony("to look at") as waits:
        value = json.loads(waits.request.read_bytes())
        assert value["kind"] == "opening_ceremony"
        assert set(value) == {"kind", "v", "entry", "request", "manifest", "shares"}
