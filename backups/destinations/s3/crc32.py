"""CRC-32 of bytes that were summed in pieces, from the pieces' own sums: nothing has to be read twice.

A sum is a polynomial over two elements, modulo that of CRC-32, with the coefficient of x^0 in the highest bit as zlib
has it. To append n bytes multiplies the sum before by x^8n and adds the sum of the appended bytes.
"""

from __future__ import annotations

_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31
_A_BYTE = _ONE >> 8  # x^8


def combined(first: int, second: int, length: int) -> int:
    """What ``zlib.crc32`` gives for bytes with the sum ``first`` and then ``length`` bytes with the sum ``second``."""
    return _product(first, _power(_A_BYTE, length)) ^ second


def _power(base: int, exponent: int) -> int:
    result = _ONE
    while exponent:
        if exponent & 1:
            result = _product(result, base)
        base = _product(base, base)
        exponent >>= 1
    return result


def _product(left: int, right: int) -> int:
    result = 0
    while left:
        if left & _ONE:
            result ^= right
        left = left << 1 & 0xFFFFFFFF
        right = right >> 1 ^ (_POLYNOMIAL if right & 1 else 0)
    return result
