from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.sources.strict import MAX_DEPTH, decode


class Tick(msgspec.Struct):
    id: int
    price: str
    size: msgspec.Raw = msgspec.Raw(b"null")


_tick = msgspec.json.Decoder(Tick)
_any = msgspec.json.Decoder()
GOOD = b'{"id":1,"price":"2.50","size":1e3,"more":{"id":2}}'


def test_a_good_body_is_its_type_and_its_figures_stay_text() -> None:
    tick = decode(GOOD, _tick)
    assert (tick.id, tick.price, bytes(tick.size)) == (1, "2.50", b"1e3")


@pytest.mark.parametrize(
    "body",
    [
        GOOD.replace(b"1e3", b"NaN"),
        GOOD.replace(b"1e3", b"Infinity"),
        GOOD.replace(b"1e3", b"-Infinity"),
        GOOD.replace(b'"id":2', b'"x":NaN'),
        GOOD.replace(b'"id":1,', b'"id":"1",'),
        GOOD.replace(b'"id":1,', b'"id":true,'),
        GOOD.replace(b'"id":1,', b'"id":1e999,'),
        GOOD.replace(b'"id":1,', b'"id":1.0,'),
        GOOD.replace(b'"2.50"', b"2.50"),
        GOOD.replace(b"1e3", b"01"),
        GOOD.replace(b'"id":1,', b'"id":1,"id":2,'),
        GOOD.replace(b'"id":1,', b'"id":1,"\\u0069d":1,'),
        GOOD.replace(b'"id":2', b'"id":2,"id":2'),
        GOOD + b"x",
        GOOD + GOOD,
        GOOD[:-1],
        b"\xef\xbb\xbf" + GOOD,
        GOOD.replace(b'"id":2', b'"x":"\xff"'),
        GOOD.replace(b'"id":2', b'"x":"\xc3'),
        b"",
        b"<html>",
        b"\n <!DOCTYPE html>",
    ],
)
def test_what_is_not_strict_json_of_the_type_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(body, _tick)


@pytest.mark.parametrize("depth", [MAX_DEPTH, 500, 200_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_has_an_end(opening: bytes, closing: bytes, depth: int) -> None:
    deep = opening * depth + b"1" + closing * depth
    with pytest.raises(ValueError, match="nested"):
        decode(b'{"x":' + deep + b"}", _any)
    # What a string hides from the count is found by the decoders.
    with pytest.raises(ValueError, match="nested|truncated"):
        decode(b'{"x":"' + b"]" * depth + b'","y":' + opening * 200_000, _any)


def test_the_reason_names_the_key_that_stands_twice() -> None:
    with pytest.raises(ValueError, match="the key 'price' stands twice"):
        decode(GOOD.replace(b'"id":1,', b'"price":"9",'), _tick)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(_json)
def test_all_other_json_is_taken(document: Any) -> None:
    assert decode(json.dumps(document, ensure_ascii=True).encode(), _any) == document


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_a_value_error(body: bytes) -> None:
    try:
        decode(body, _tick)
    except ValueError:
        return
    assert json.loads(body)
