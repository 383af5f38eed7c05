"""The tree of errors: every family in its place, each with a code and what to do next."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from dutchdoor import errors
from dutchdoor.errors import (
    DutchdoorError,
    Invalid,
    NotFound,
    NotInForce,
    Refused,
    Tampered,
    Unavailable,
)

SOURCE = Path(errors.__file__).parent


@pytest.mark.parametrize(
    ("kind", "parent", "family"),
    [
        (Refused, DutchdoorError, "refused"),
        (NotInForce, Refused, "refused"),
        (Invalid, DutchdoorError, "invalid"),
        (Tampered, Invalid, "invalid"),
        (NotFound, Invalid, "invalid"),
        (Unavailable, DutchdoorError, "unavailable"),
    ],
)
def test_each_error_stands_under_its_family(
    kind: type[DutchdoorError], parent: type[DutchdoorError], family: str
) -> None:
    assert kind.__bases__ == (parent,)
    assert kind.family == family
    error = kind("what happened", code="a_code", hint="what to do")
    assert (str(error), error.message) == ("what happened", "what happened")
    assert (error.code, error.diagnostics()) == ("a_code", "what to do")


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__)
    assert sorted([*drawn, "DutchdoorError"]) == sorted(errors.__all__)


def test_a_change_says_where() -> None:
    assert Tampered("x", code="y", where="file byte 3").where == "file byte 3"


def test_every_error_raised_has_a_code_of_lower_case_words() -> None:
    kinds = set(errors.__all__)
    count = 0
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) not in kinds:
                continue
            codes = [k.value for k in node.keywords if k.arg == "code"]
            assert codes, f"{path}:{node.lineno}: no code"
            if isinstance(codes[0], ast.Constant):
                assert re.fullmatch(r"[a-z][a-z0-9_]*", str(codes[0].value)), (
                    f"{path}:{node.lineno}"
                )
            count += 1
    assert count > 20
