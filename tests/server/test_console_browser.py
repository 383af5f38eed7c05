"""The console in a real browser: edit, conflict, refusal; no script runs and none is needed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.console_house import AUDIT, ConsoleHouse, K, console

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
HOSTILE = (
    "</textarea><img src=x onerror=\"document.title='taken'\">"
    "<script>document.title='taken'</script>"
)

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright"
)
pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).is_file(), reason="chromium is not installed: apt-get install chromium"
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> ConsoleHouse:
    return ConsoleHouse(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def page(house: ConsoleHouse) -> Iterator[Any]:
    with console(house) as url, playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(base_url=url).new_page()
        page.goto("/")
        page.fill("#key", house.keys["Ada"])
        page.click("button")
        page.wait_for_url("**/audits")
        yield page
        browser.close()


def test_an_auditor_edits_a_document_in_a_browser(house: ConsoleHouse, page: Any) -> None:
    page.goto(f"/audits/{AUDIT}")
    assert "Signing keys never come into a browser" in page.inner_text("footer")
    page.click("text=Product requirements")
    page.fill("#body", f"# Requirements\n\nWritten in a browser.\n{HOSTILE}\n")
    page.click("#save")
    page.wait_for_load_state()
    assert "Written in a browser." in house.path(K.S1).read_text()
    assert HOSTILE in page.input_value("#body")
    assert "taken" not in page.title()


def test_an_error_is_shown_in_place_and_the_text_stays(house: ConsoleHouse, page: Any) -> None:
    page.goto(f"/audits/{AUDIT}/S1")
    before = house.path(K.S1).read_bytes()
    page.fill("#front", "document: [")
    page.fill("#body", "My text.")
    page.click("#save")
    page.wait_for_selector("#error")
    assert "bad_document" in page.inner_text("#error")
    assert page.input_value("#front").strip() == "document: ["
    assert page.input_value("#body").strip() == "My text."
    assert house.path(K.S1).read_bytes() == before


def test_a_conflict_shows_both_texts(house: ConsoleHouse, page: Any) -> None:
    page.goto(f"/audits/{AUDIT}/S1")
    path = house.path(K.S1)
    path.write_text(path.read_text() + "\nFrom another editor.\n")
    stored = path.read_bytes()
    page.fill("#body", "Mine.")
    page.click("#save")
    page.wait_for_selector("#stored-body")
    assert "document_moved" in page.inner_text("#error")
    assert "From another editor." in page.input_value("#stored-body")
    assert page.input_value("#body").strip() == "Mine."
    assert path.read_bytes() == stored


def test_a_page_elsewhere_cannot_post_with_the_cookie(house: ConsoleHouse, page: Any) -> None:
    before = house.path(K.S1).read_bytes()
    url = page.url.split("/audits")[0]
    other = page.context.new_page()
    form = f'<form id="f" method="post" action="{url}/audits/{AUDIT}/S1">'
    other.set_content(form + '<input name="body" value="stolen"></form>')
    other.evaluate("document.getElementById('f').submit()")
    other.wait_for_load_state()
    other.wait_for_selector("[role=alert]")
    assert "foreign_origin" in other.inner_text("[role=alert]")
    other.close()
    assert house.path(K.S1).read_bytes() == before


def test_the_cookie_is_out_of_reach_of_scripts(page: Any) -> None:
    page.goto("/audits")
    assert page.evaluate("document.cookie") == ""
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
