"""Identifiers: distinct types, one shape, no meaning inside.

An identifier is `<kind>_<26 characters>`: 130 random bits in Crockford's base32, so that it can be
read aloud, sorts nowhere in particular, and tells nothing about who or when.
"""

from __future__ import annotations

import secrets
from typing import NewType

__all__ = [
    "BundleDigest",
    "DecisionId",
    "GrantId",
    "InferenceId",
    "KeyId",
    "PersonId",
    "new_decision_id",
    "new_grant_id",
    "new_inference_id",
    "new_key_id",
    "new_person_id",
    "random_part",
]

PersonId = NewType("PersonId", str)
GrantId = NewType("GrantId", str)
KeyId = NewType("KeyId", str)
DecisionId = NewType("DecisionId", str)
InferenceId = NewType("InferenceId", str)
BundleDigest = NewType("BundleDigest", str)
"""`sha256:` and 64 lower-case hexadecimal digits: the name of exactly one sealed bundle."""

_ALPHABET = b"0123456789abcdefghjkmnpqrstvwxyz"
_CHARACTERS = _ALPHABET * 8


def random_part(length: int = 26) -> str:
    """`length` random characters of Crockford's base32, 5 bits each."""
    # One look at the system's randomness: 32 divides 256, so each character is as likely.
    return secrets.token_bytes(length).translate(_CHARACTERS).decode("ascii")


def new_person_id() -> PersonId:
    return PersonId("person_" + random_part())


def new_grant_id() -> GrantId:
    return GrantId("grant_" + random_part())


def new_key_id() -> KeyId:
    return KeyId("key_" + random_part(12))


def new_decision_id() -> DecisionId:
    return DecisionId("decision_" + random_part())


def new_inference_id() -> InferenceId:
    return InferenceId("inf_" + random_part())
