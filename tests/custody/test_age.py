"""Keys of age come over as what they are, and what is no key is refused."""

from __future__ import annotations

import pytest

from dutchdoor.custody.age import _CHARSET, _bech32, _polymod, read_age_identity
from dutchdoor.custody.hpke import ClassicalKey, PrivateKey, seal_to
from dutchdoor.custody.model import Kem
from dutchdoor.errors import Invalid

# Made by another implementation of age, for this test alone.
IDENTITY = "AGE-SECRET-KEY-1ATC6P8XNT4MM5HF69W6L8SFSGN582T054NPRZQNCK86UF40HPEGQ4772S3"
RECIPIENT = "age1f7hvrwxg09dpwt2jdf8m060l5vujrr9pd55ek7cjd4jr689029cqrktv4f"

# First vector of draft-connolly-cfrg-xwing-kem: a seed, how its public key begins and ends.
XWING_SEED = bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")
XWING_BEGINS = "e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5"
XWING_ENDS = "859edb06eff389b27dce59844570216223593d4ba32d9abac8cd049040ef6534"


def encoded(prefix: str, data: bytes) -> str:
    """Bech32 of `data`, to have identities of kinds that others cannot make yet."""
    number = int.from_bytes(data, "big") << -len(data) * 8 % 5
    count = -(-len(data) * 8 // 5)
    values = [number >> 5 * place & 31 for place in reversed(range(count))]
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    check = _polymod(expanded + values + [0] * 6) ^ 1
    values += [check >> 5 * (5 - place) & 31 for place in range(6)]
    return (prefix + "1" + "".join(_CHARSET[value] for value in values)).upper()


def test_an_identity_of_age_is_the_same_key_here() -> None:
    text = f"# created: 2026-11-24\n# public key: {RECIPIENT}\n{IDENTITY}\n".encode()
    kem, seed = read_age_identity(text)
    assert kem is Kem.X25519
    assert ClassicalKey(seed).public_key == _bech32(RECIPIENT)[1]
    assert encoded("age-secret-key-", seed) == IDENTITY
    sealed = seal_to(ClassicalKey(seed).public_key, b"a share", b"info", kem)
    assert ClassicalKey(seed).open(sealed, b"info") == b"a share"
    assert ClassicalKey(seed).open(sealed, b"another") is None


def test_a_hybrid_identity_of_age_is_an_x_wing_key() -> None:
    kem, seeds = read_age_identity(encoded("age-secret-key-pq-", XWING_SEED).encode())
    public = PrivateKey(seeds).public_key.hex()
    assert kem is Kem.XWING
    assert (public[:64], public[-64:]) == (XWING_BEGINS, XWING_ENDS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        f"{IDENTITY}\n{IDENTITY}\n",
        IDENTITY[:-1] + "4",
        IDENTITY.replace("ATC6", "ACT6"),
        IDENTITY[:20] + IDENTITY[20:].lower(),
        RECIPIENT,
        "age-encryption.org/v1\n-> scrypt",
        encoded("age-secret-key-", bytes(31)),
        encoded("age-secret-key-", bytes(33)),
        encoded("age-plugin-x-", bytes(32)),
        IDENTITY + "\n" + "#" * 20_000,
        "ä",
    ],
)
def test_what_is_not_one_identity_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_age_identity(text.encode())
    assert caught.value.code == "bad_age_identity"
    assert "ATC6" not in f"{caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"
