"""The worked example of a source does what the page says."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from include.errors import BadPayload, RateLimited
from include.market.instrument import Instrument
from include.settings import PROJECT_ROOT, Settings
from include.sources.base import QUOTES, Answer, PriceSource
from spark_jobs.transforms.indicators import indicators_of_table
from tests.unit.transforms.candle_series import table

NOW = 1_700_000_000_000_000
AAPL, MSFT = (Instrument(symbol, "stock", symbol, {"example": symbol}) for symbol in ("AAPL", "MSFT"))  # type: ignore[dict-item]


def code_of_the_page(first_words: str) -> str:
    page = (PROJECT_ROOT / "CONTRIBUTING.md").read_text()
    (code,) = re.findall(rf'```python\n("""{first_words}: .*?)```', page, re.DOTALL)
    return str(code)


def test_the_indicator_of_the_page_is_computed() -> None:
    names: dict[str, Any] = {}
    exec(compile(code_of_the_page("Mean volume"), "CONTRIBUTING.md", "exec"), names)
    found = indicators_of_table(table([1, 2, 3, 4], volumes=[2, None, 4, 9]), [names["volume_mean"](2)])
    assert found["volume_mean_2"].to_pylist() == [None, None, 3, 6.5]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PriceSource]:
    code = code_of_the_page("Example")
    file = tmp_path_factory.mktemp("example") / "example.py"
    file.write_text(code)
    spec = importlib.util.spec_from_file_location("example", file)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["example"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module.build(Settings())
    del sys.modules["example"]


def test_the_example_reads_what_it_asked_for(example: PriceSource) -> None:
    (question,) = example.questions(QUOTES, [AAPL, MSFT], {}, NOW)
    assert question.params == {"symbols": "AAPL,MSFT"}
    body = b'[{"symbol": "AAPL", "price": 187.150, "time": 1699999990}, {"symbol": "X", "price": 1, "time": 1}]'
    (event,) = example.read(question, Answer(200, {}, body), NOW).events
    assert (event.event_id, str(event.close)) == ("example:AAPL:quote:1699999990000000", "187.150")


def test_the_example_says_what_went_wrong(example: PriceSource) -> None:
    (question,) = example.questions(QUOTES, [AAPL], {}, NOW)
    refused = example.refusal(Answer(429, {"retry-after": "30"}, b""), NOW)
    assert isinstance(refused, RateLimited)
    assert refused.until == NOW / 1_000_000 + 30
    with pytest.raises(BadPayload):
        example.read(question, Answer(200, {}, b'[{"symbol": "AAPL", "price": NaN, "time": 1}]'), NOW)
