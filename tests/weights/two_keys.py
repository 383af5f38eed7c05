"""One ciphertext under two keys ("invisible salamanders"): arithmetic of GCM in GF(2^128)."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["ciphertext_of_two_keys"]


def multiply(x: int, y: int) -> int:
    product = 0
    for bit in range(127, -1, -1):
        if y >> bit & 1:
            product ^= x
        x = x >> 1 ^ (0xE1 << 120 if x & 1 else 0)
    return product


def power(x: int, exponent: int) -> int:
    result = 1 << 127
    while exponent:
        if exponent & 1:
            result = multiply(result, x)
        x, exponent = multiply(x, x), exponent >> 1
    return result


def one_block(key: bytes, block: bytes) -> int:
    cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return int.from_bytes(cipher.update(block), "big")


def ciphertext_of_two_keys(keys: tuple[bytes, bytes], nonce: bytes, aad: bytes) -> bytes:
    """32 bytes and a tag that AES-GCM accepts under both keys.

    Source: Dodis, Grubbs, Ristenpart, Woodage 2018, section 3.
    """
    first = bytes(range(16))
    lengths = (8 * len(aad)).to_bytes(8, "big") + (8 * 32).to_bytes(8, "big")
    known = {6 - 1: aad[:16], 5 - 1: aad[16:], 3: first, 1: lengths}
    total, factor = 0, 0
    for key in keys:
        h = one_block(key, bytes(16))
        total ^= one_block(key, nonce + b"\0\0\0\1")
        factor ^= power(h, 2)
        for exponent, block in known.items():
            total ^= multiply(int.from_bytes(block, "big"), power(h, exponent))
    second = multiply(total, power(factor, 2**128 - 2))
    h = one_block(keys[0], bytes(16))
    tag = one_block(keys[0], nonce + b"\0\0\0\1") ^ multiply(second, power(h, 2))
    for exponent, block in known.items():
        tag ^= multiply(int.from_bytes(block, "big"), power(h, exponent))
    return first + second.to_bytes(16, "big") + tag.to_bytes(16, "big")
