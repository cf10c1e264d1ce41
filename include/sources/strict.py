"""Strict JSON: what every source's bodies are decoded with. Pure.

msgspec's typed decoders refuse most of what is not meant: NaN and Infinity, numbers as strings and
strings as numbers, booleans as numbers, trailing bytes, truncation, a byte order mark. What they let
pass is refused here: a key that stands twice (they keep the last), bad UTF-8 in fields that nobody
reads, and nesting deeper than any market body. Figures are left as text (`msgspec.Raw`) and read by
`include.sources.http.exact`, which refuses what is out of range.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

import msgspec

T = TypeVar("T")

#: The deepest body of our sources, Yahoo's chart with its trading periods, has nine levels.
MAX_DEPTH = 32
#: An opening bracket is 1, a closing one -1 (255 as a signed byte), and all else is left out.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The body as the decoder's type. Raises ValueError with the reason, and nothing else."""
    if body.lstrip()[:1] == b"<":
        raise ValueError("HTML, not JSON")
    # Brackets in strings count too: no market body has so many of them.
    if max(accumulate(array("b", body.translate(_STEPS, _NO_BRACKETS))), default=0) > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    text = body.decode("utf-8")
    try:
        # Plain lists, the large bodies, have no keys.
        if "{" in text:
            _keys.decode(text)
        return decoder.decode(body)
    except RecursionError:
        # Closing brackets in strings can hide depth from the count.
        raise ValueError("nested too deep") from None


def _unrepeated(pairs: Sequence[tuple[str, object]]) -> None:
    if len(dict(pairs)) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {repeated[:40]!r} stands twice")


# A second pass that builds nothing. `len` is the cheapest thing to do with the text of a number.
_keys = json.JSONDecoder(object_pairs_hook=_unrepeated, parse_float=len, parse_int=len)
