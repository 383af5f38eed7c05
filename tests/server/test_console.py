"""The console: who is let in, what another page cannot do, and that no text is ever lost."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from docs.examples.sign import EXAMPLE
from dutchdoor.audit.people import Member, People, Role, write_people
from dutchdoor.clock import FixedClock
from dutchdoor.errors import Refused
from dutchdoor.evidence.decision import Depth
from dutchdoor.server.console.requests import BODY_BYTES_MAX
from dutchdoor.server.console.sessions import SESSION_MS_MAX, SESSIONS_MAX, Sessions
from tests.server.console_house import AUDIT, Browser, ConsoleHouse, K, console, fields

MINE = 'and this is what I wrote, <b>late</b> & "tired"'


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> ConsoleHouse:
    return ConsoleHouse(tmp_path_factory.mktemp("console"))


@pytest.fixture(scope="module")
def url(house: ConsoleHouse) -> Iterator[str]:
    with console(house) as found:
        yield found


@pytest.fixture
def ada(house: ConsoleHouse, url: str) -> Browser:
    browser = Browser(url)
    assert browser.log_in(house.keys["Ada"]).status_code == 303
    return browser


@pytest.fixture
def kept(house: ConsoleHouse) -> Iterator[None]:
    """Puts the documents back."""
    before = {kind: house.path(kind).read_bytes() for kind in house.folder.kinds}
    yield
    for kind, data in before.items():
        house.path(kind).write_bytes(data)
    (house.folder.path / "people.yaml").unlink(missing_ok=True)


def test_without_a_session_there_is_nothing_but_the_login(url: str) -> None:
    for path in ("/audits", f"/audits/{AUDIT}", f"/audits/{AUDIT}/S2", "/logout", "/nothing"):
        page = httpx.get(url + path, headers={"cookie": "dutchdoor_console=guessed"})
        assert page.status_code == 401, path
        assert "principle" not in page.text.lower()
    assert httpx.get(url + "/").status_code == 200


@pytest.mark.parametrize(
    ("who", "code"), [("Rita", "no_audit_grant"), ("Nobody", "no_audit_grant")]
)
def test_only_who_holds_a_grant_that_covers_the_audit_is_let_in(
    house: ConsoleHouse, url: str, who: str, code: str
) -> None:
    browser = Browser(url)
    page = browser.log_in(house.keys[who])
    assert (page.status_code, code in page.text) == (403, True)
    assert not browser.http.cookies
    assert browser.http.get("/audits").status_code == 401


@pytest.mark.parametrize("key", ["", "x", "dd_live_" + "0" * 30 + "_000000", "\x00", "é" * 300])
def test_a_wrong_key_opens_nothing_and_is_not_shown_again(url: str, key: str) -> None:
    page = Browser(url).log_in(key)
    assert page.status_code == 401
    assert "set-cookie" not in page.headers
    assert len(key) < 8 or key not in page.text


def test_a_grant_on_another_bundle_is_none_here(house: ConsoleHouse, url: str) -> None:
    house.person("Otto", Depth.AUDIT, bundle="sha256:" + "f" * 64)
    assert Browser(url).log_in(house.keys["Otto"]).status_code == 403


def test_a_revoked_key_and_a_revoked_grant_end_a_session_at_once(
    house: ConsoleHouse, url: str
) -> None:
    access = house.workspace.access
    house.person("Kim", Depth.AUDIT)
    house.person("Lou", Depth.AUDIT)
    kim, lou = Browser(url), Browser(url)
    kim.log_in(house.keys["Kim"])
    lou.log_in(house.keys["Lou"])
    form = kim.open("S1")
    access.revoke_key(house.key_ids["Kim"], "lost", record=lambda _: None)
    (grant,) = access.list_grants(access.find_person("Lou").id)
    access.revoke_grant(grant.id, "ended", record=lambda _: None)
    before = house.path(K.S1).read_bytes()
    for browser in (kim, lou):
        assert browser.http.get(f"/audits/{AUDIT}").status_code == 403
        assert browser.http.get("/audits").status_code == 403
    assert kim.save("S1", {**form, "body": MINE}).status_code == 403
    assert house.path(K.S1).read_bytes() == before


def test_the_cookie_is_for_this_site_and_no_script(house: ConsoleHouse, url: str) -> None:
    answer = Browser(url).log_in(house.keys["Ada"])
    cookie = answer.headers["set-cookie"]
    for word in ("HttpOnly", "SameSite=Strict", "Path=/"):
        assert word in cookie
    assert house.keys["Ada"] not in cookie


def test_every_page_forbids_scripts_frames_and_other_origins(ada: Browser) -> None:
    paths = ("/", "/audits", f"/audits/{AUDIT}", f"/audits/{AUDIT}/S1", "/nothing")
    for path in paths:
        page = ada.http.get(path)
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "<script" not in page.text
        assert " style=" not in page.text
        assert page.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {},
        {"origin": "OURS", "sec-fetch-site": "cross-site"},
        {"origin": "OURS", "sec-fetch-site": "same-site"},
    ],
)
def test_another_page_cannot_speak_for_who_is_logged_in(
    house: ConsoleHouse, ada: Browser, headers: dict[str, str]
) -> None:
    form = ada.open("S1")
    before = house.path(K.S1).read_bytes()
    sent = {k: v.replace("OURS", ada.url) for k, v in headers.items()}
    for path, data in ((f"/audits/{AUDIT}/S1", form), ("/login", {"key": house.keys["Ada"]})):
        page = ada.http.post(path, data=data, headers=sent)
        assert (page.status_code, "foreign_origin" in page.text) == (403, True)
    assert house.path(K.S1).read_bytes() == before


@pytest.mark.parametrize("token", ["", "guessed", "OTHER"])
def test_a_form_without_its_sessions_token_is_refused(
    house: ConsoleHouse, url: str, ada: Browser, token: str
) -> None:
    other = Browser(url)
    other.log_in(house.keys["Ada"])
    theirs = other.open("S1")["csrf"]
    form = {**ada.open("S1"), "body": MINE}
    form["csrf"] = token.replace("OTHER", theirs)
    page = ada.save("S1", form)
    assert (page.status_code, "wrong_form" in page.text) == (403, True)
    assert MINE not in house.path(K.S1).read_text()


def test_a_foreign_name_for_this_machine_is_no_origin_of_ours(url: str) -> None:
    page = httpx.get(url + "/", headers={"host": "evil.example"})
    assert (page.status_code, "wrong_host" in page.text) == (421, True)


@pytest.mark.usefixtures("kept")
def test_an_edit_is_saved_as_it_was_written(house: ConsoleHouse, ada: Browser) -> None:
    form = ada.open("S1")
    assert house.path(K.S1).read_text().startswith(f"---\n{form['front']}")
    unchanged = ada.save("S1", form)
    assert unchanged.status_code == 303
    saved = ada.save("S1", {**ada.open("S1"), "body": form["body"] + MINE})
    assert (saved.status_code, saved.headers["location"]) == (303, f"/audits/{AUDIT}/S1")
    assert house.path(K.S1).read_text().endswith(MINE + "\n")
    assert ada.open("S1")["body"].endswith(MINE + "\n")
    listed = ada.http.get(f"/audits/{AUDIT}").text
    assert "changed after" in listed
    assert "Signing keys never come into a browser" in listed


@pytest.mark.usefixtures("kept")
def test_nothing_of_others_is_written_over(house: ConsoleHouse, ada: Browser, url: str) -> None:
    other = Browser(url)
    other.log_in(house.keys["Ada"])
    mine, theirs = ada.open("S1"), other.open("S1")
    assert other.save("S1", {**theirs, "body": "Theirs."}).status_code == 303
    stored = house.path(K.S1).read_bytes()
    page = ada.save("S1", {**mine, "body": MINE})
    assert (page.status_code, "document_moved" in page.text) == (409, True)
    assert house.path(K.S1).read_bytes() == stored
    # Both texts are there; whoever has seen them may choose.
    assert "Theirs." in page.text
    again = fields(page.text)
    assert again["body"].strip() == MINE
    assert ada.save("S1", again).status_code == 303
    assert house.path(K.S1).read_text().endswith(MINE + "\n")


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("front", "code"),
    [
        ("document: [", "bad_document"),
        ("{front}\n---\nmore: x\n", "bad_document"),
        ("{front}title: again\n", "bad_document"),
        ("a: &x 1\nb: *x\n", "bad_document"),
        ("- a list\n", "bad_document"),
        ("", "bad_document"),
        ("AUDIT", "document_of_another"),
        ("SENSITIVITY", "no_sensitivity"),
    ],
)
def test_what_is_no_document_is_not_saved_and_not_lost(
    house: ConsoleHouse, ada: Browser, front: str, code: str
) -> None:
    form = ada.open("S1")
    given = front.replace("{front}", form["front"])
    if front == "AUDIT":
        given = form["front"].replace(f"audit: {AUDIT}", "audit: audit_other")
    if front == "SENSITIVITY":
        given = form["front"].replace("sensitivity: public", "sensitivity: whatever")
    before = house.path(K.S1).read_bytes()
    page = ada.save("S1", {**form, "front": given, "body": MINE})
    assert (page.status_code, code in page.text) == (400, True), page.text
    assert house.path(K.S1).read_bytes() == before
    again = fields(page.text)
    assert again["front"].strip() == given.strip()
    assert again["body"].strip() == MINE
    assert again["digest"] == form["digest"]


@pytest.mark.usefixtures("kept")
def test_what_keeps_a_document_from_being_signed_stands_beside_it(ada: Browser) -> None:
    form = ada.open("S1")
    front = re.sub(
        r"^purpose:.*?(?=^\S)", "purpose: ''\n", form["front"], flags=re.MULTILINE | re.DOTALL
    )
    assert ada.save("S1", {**form, "front": front + "colour: blue\n"}).status_code == 303
    page = ada.http.get(f"/audits/{AUDIT}/S1").text
    assert "<code>purpose</code>" in page
    assert "'purpose' is empty" in page.replace("&#39;", "'")
    assert re.search(r"<code>colour</code>, line \d+: .+ is not one of its fields", page)
    assert 'id="ready"' not in page


def test_text_is_not_lost_when_the_session_ended_meanwhile(ada: Browser) -> None:
    form = {**ada.open("S1"), "body": MINE}
    csrf = form["csrf"]
    assert ada.post("/logout", csrf=csrf).status_code == 303
    page = ada.save("S1", form)
    assert page.status_code == 401
    assert "and this is what I wrote, &lt;b&gt;late&lt;/b&gt;" in page.text


@pytest.mark.usefixtures("kept")
def test_what_the_rules_keep_from_somebody_is_neither_shown_nor_taken(
    house: ConsoleHouse, ada: Browser
) -> None:
    form = ada.open("S1")
    house.folder.write(K.S1, house.folder.read(K.S1).with_front(sensitivity="infohazard"))
    secret = house.path(K.S1).read_bytes()
    page = ada.http.get(f"/audits/{AUDIT}/S1")
    assert (page.status_code, "not_for_you" in page.text) == (403, True)
    assert "own_auditors_read_infohazards" not in page.text
    assert "redacted" in ada.http.get(f"/audits/{AUDIT}").text
    assert ada.save("S1", form).status_code == 403
    assert house.path(K.S1).read_bytes() == secret
    person = house.workspace.access.find_person("Ada").id
    ada_is = Member("Ada", frozenset({Role.AUDITOR}), person=person)
    write_people(house.folder.path, People((ada_is,)))
    assert ada.http.get(f"/audits/{AUDIT}/S1").status_code == 200


@pytest.mark.usefixtures("kept")
def test_where_people_are_named_nobody_else_edits(house: ConsoleHouse, ada: Browser) -> None:
    form = {**ada.open("S1"), "body": MINE}
    write_people(house.folder.path, People((Member("Bo", frozenset({Role.AUDITOR})),)))
    before = house.path(K.S1).read_bytes()
    page = ada.save("S1", form)
    assert (page.status_code, "not_in_role" in page.text) == (403, True)
    assert "and this is what I wrote" in page.text
    assert house.path(K.S1).read_bytes() == before


@pytest.mark.usefixtures("kept")
def test_a_broken_document_can_be_mended_by_its_auditors_alone(
    house: ConsoleHouse, ada: Browser
) -> None:
    whole = ada.open("S1")
    house.path(K.S1).write_text("no front matter at all <i>")
    assert ada.http.get(f"/audits/{AUDIT}/S1").status_code == 403
    person = house.workspace.access.find_person("Ada").id
    ada_is = Member("Ada", frozenset({Role.AUDITOR}), person=person)
    write_people(house.folder.path, People((ada_is,)))
    broken = ada.open("S1")
    assert "no front matter at all <i>" in broken["body"]
    mended = {**whole, "csrf": broken["csrf"], "digest": broken["digest"]}
    assert ada.save("S1", mended).status_code == 303


def test_a_closed_audit_takes_no_edit(house: ConsoleHouse, ada: Browser) -> None:
    form = {**ada.open("S1"), "body": MINE}
    path = house.folder.path / "summary.json"
    path.write_bytes((EXAMPLE / "summary.json").read_bytes())
    try:
        page = ada.save("S1", form)
        assert (page.status_code, "audit_completed" in page.text) == (403, True)
        assert MINE not in house.path(K.S1).read_text()
    finally:
        path.unlink()


@pytest.mark.parametrize("path", ["/audits/../house", "/audits/x", f"/audits/{AUDIT}/Z9", "/x"])
def test_there_is_nothing_else_here(ada: Browser, path: str) -> None:
    assert ada.http.get(path).status_code == 404


def test_forms_out_of_form_and_without_end_are_refused(ada: Browser) -> None:
    form = ada.open("S1")
    base = {"origin": ada.url}
    plain = {**base, "content-type": "application/x-www-form-urlencoded"}
    for data, headers, status in (
        (b"{}", {**base, "content-type": "application/json"}, 400),
        (b"a=1&a=2", plain, 400),
        (b"a=%ff", plain, 400),
        (b"&".join(b"f%d=1" % n for n in range(20)), plain, 400),
        (b"a=" + b"x" * BODY_BYTES_MAX, plain, 400),
    ):
        page = ada.http.post(f"/audits/{AUDIT}/S1", content=data, headers=headers)
        assert page.status_code == status
    assert ada.save("S1", {"csrf": form["csrf"], "front": "x"}).status_code == 400
    assert ada.http.put(f"/audits/{AUDIT}/S1").status_code == 405


def test_sessions_end_by_age_and_idleness_and_are_not_without_number() -> None:
    clock = FixedClock()
    sessions = Sessions(clock)
    caller: object = object()
    token = sessions.begin(caller)  # type: ignore[arg-type]
    assert sessions.find(token) is not None
    clock.advance(SESSION_MS_MAX // 4)
    assert sessions.find(token) is None
    token = sessions.begin(caller)  # type: ignore[arg-type]
    for _ in range(9):
        clock.advance(SESSION_MS_MAX // 8)
        found = sessions.find(token)
    assert found is None
    first = sessions.begin(caller)  # type: ignore[arg-type]
    clock.advance(1)
    for _ in range(SESSIONS_MAX):
        sessions.begin(caller)  # type: ignore[arg-type]
    assert sessions.find(first) is None


def test_a_sessions_token_is_compared_whole() -> None:
    sessions = Sessions(FixedClock())
    session = sessions.find(sessions.begin(object()))  # type: ignore[arg-type]
    assert session is not None
    session.must_be_of_form(session.csrf)
    for token in ("", session.csrf[:-1], session.csrf + "x", "é"):
        with pytest.raises(Refused):
            session.must_be_of_form(token)


def test_the_console_listens_on_this_machine_alone(house: ConsoleHouse) -> None:
    root = str(house.workspace.places.root)
    command = [sys.executable, "-m", "dutchdoor.server.console", "--workspace", root, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:")
            assert httpx.get(address + "/").status_code == 200
        finally:
            process.terminate()


def test_no_workspace_no_console(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dutchdoor.server.console"]
    ran = subprocess.run(
        [*command, "--workspace", str(tmp_path), "--port", "0"], capture_output=True, text=True
    )
    assert ran.returncode == 3
    assert "console" in ran.stderr
