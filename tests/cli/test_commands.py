"""The command line's manners: options, exit codes, hints, secrets, control characters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner, Result

from dutchdoor.cli.frame import safe_text
from dutchdoor.cli.main import app
from tests.runtime.tiny_model import write_tiny_model


def leaves(command: Any, path: str = "dutchdoor") -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from leaves(child, f"{path} {name}")


COMMANDS = list(leaves(typer.main.get_command(app)))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cli")
    write_tiny_model(root / "model")
    workspace = ["--workspace", str(root / "house")]
    assert run("init", *workspace).exit_code == 0
    sealed = run("seal", str(root / "model"), "-o", "tiny", "--auditor", "Ada", *workspace)
    assert sealed.exit_code == 0, sealed.output
    return root / "house"


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[path for path, _ in COMMANDS])
def test_every_command_takes_a_workspace_and_gives_json(path: str, command: Any) -> None:
    options = {name for parameter in command.params for name in parameter.opts}
    assert {"--workspace", "--json"} <= options, path
    assert command.help, f"{path} says what it does"
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{path}: {parameter.name} says what it means"


# The number of an open file, and the label of a PKCS#11 token: what is in them is elsewhere.
NOT_SECRET = {"secret_fd", "token"}


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[path for path, _ in COMMANDS])
def test_no_command_takes_a_secret_as_an_argument(path: str, command: Any) -> None:
    for parameter in command.params:
        if getattr(parameter, "is_flag", False) or parameter.name in NOT_SECRET:
            continue
        words = parameter.name.split("_")
        assert not {"password", "passphrase", "secret", "token"} & set(words), path


READ_ONLY = (
    ("people", "list"),
    ("people", "keys"),
    ("grants", "list"),
    ("custody", "list"),
    ("release", "history"),
    ("release", "show"),
    ("evidence", "show"),
    ("evidence", "checkpoint"),
    ("evidence", "verify"),
    ("inspect",),
)


@pytest.mark.parametrize("words", READ_ONLY, ids=" ".join)
def test_what_is_shown_to_people_is_given_to_programs_too(
    house: Path, words: tuple[str, ...]
) -> None:
    told = run(*words, "--workspace", str(house))
    assert told.exit_code == 0, told.output
    assert told.stdout.strip()
    given = run(*words, "--workspace", str(house), "--json")
    json.loads(given.stdout)


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("status",), "not_running", 3),
        (("stop",), "not_running", 3),
        (("init",), "workspace_exists", 1),
        (("inspect", "other"), "bundle_not_found", 2),
        (("people", "key", "Nobody"), "no_person", 2),
        (("people", "keys", "Nobody"), "no_person", 2),
        (("grants", "make", "Ada", "--purpose", "x", "--depth", "deep"), "unknown_depth", 2),
        (("audit", "status"), "no_audit", 2),
        (("audit", "start", "--auditor", "Nobody"), "no_person", 2),
        (("release", "approve", "proposal_x", "--as", "approver-9"), "key_not_found", 2),
        (("release", "revoke", "decision_x", "--reason", "y", "--as", "holder"), "no_decision", 2),
        (("evidence", "receipt", "inf_none"), "no_entry", 2),
        (("evidence", "show", "--kind", "gossip"), "unknown_kind", 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_wrong_turn_gets_a_code_and_an_exit_code(
    house: Path, words: tuple[str, ...], code: str, exit_code: int
) -> None:
    result = run(*words, "--workspace", str(house), "--json")
    assert result.exit_code == exit_code, result.output
    error = json.loads(result.stderr.strip().splitlines()[-1])["error"]
    assert error["code"] == code
    assert error["message"]
    assert not result.stdout.strip(), "an error is no data"


def test_outside_a_workspace_the_hint_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("people", "list")
    assert result.exit_code == 2
    assert "dutchdoor init" in result.stderr


def test_an_older_workspace_is_brought_up_to_date_as_its_hint_says(tmp_path: Path) -> None:
    root = tmp_path / "old"
    assert run("init", "--workspace", str(root)).exit_code == 0
    database = root / "state.db"
    for file in root.glob("state.db*"):
        file.unlink()
    database.touch(mode=0o600)
    refused = run("people", "list", "--workspace", str(root))
    assert refused.exit_code == 2
    assert "dutchdoor upgrade" in refused.stderr
    assert run("upgrade", "--workspace", str(root)).exit_code == 0
    assert run("people", "list", "--workspace", str(root)).exit_code == 0


def test_an_api_key_is_shown_once_and_is_in_no_file(house: Path, tmp_path: Path) -> None:
    out = tmp_path / "ada.key"
    result = run("people", "key", "Ada", "--out", str(out), "--workspace", str(house))
    assert result.exit_code == 0, result.output
    secret = out.read_text().strip()
    assert out.stat().st_mode & 0o077 == 0
    assert secret not in result.output
    for path in house.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), f"the key lies in {path}"
    again = run("people", "key", "Ada", "--out", str(out), "--workspace", str(house))
    assert again.exit_code == 1, "a key is never written over anything"
    assert out.read_text().strip() == secret


def test_a_leaked_key_can_be_found_and_revoked_by_what_the_program_shows(
    house: Path, tmp_path: Path
) -> None:
    workspace = ["--workspace", str(house)]
    assert run("people", "add", "Rosa", "--audience", "researcher", *workspace).exit_code == 0
    out = tmp_path / "rosa.key"
    issued = run("people", "key", "Rosa", "--days", "3", "--out", str(out), *workspace)
    assert issued.exit_code == 0, issued.output
    others = run("people", "key", "Ada", "--out", str(tmp_path / "ada2.key"), *workspace)
    assert others.exit_code == 0

    (row,) = json.loads(run("people", "keys", "Rosa", "--json", *workspace).stdout)
    assert (row["name"], row["revoked"]) == ("Rosa", None)
    assert row["issued"] < row["expires"]
    told = run("people", "keys", *workspace).stdout
    assert row["key"] in told
    assert "Ada" in told
    assert out.read_text().strip() not in told

    assert run("people", "revoke-key", row["key"], "--reason", "leaked", *workspace).exit_code == 0
    (after,) = json.loads(run("people", "keys", "Rosa", "--json", *workspace).stdout)
    assert after["revoked"] is not None
    assert "revoked" in run("people", "keys", "Rosa", *workspace).stdout


def test_a_changed_bundle_is_reported_with_its_place(house: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(house, copy)
    path = max((copy / "bundles" / "tiny.sealed").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    result = run("inspect", "tiny", "--full", "--workspace", str(copy))
    assert result.exit_code == 2
    assert "CHANGED" in result.stdout
    assert path.name in result.stdout


def test_what_a_model_says_cannot_move_the_readers_cursor() -> None:
    assert "\x1b" not in safe_text("\x1b[2Jhello\x07\u202etxt")
    assert safe_text("line\nnext\tcolumn") == "line\nnext\tcolumn"
