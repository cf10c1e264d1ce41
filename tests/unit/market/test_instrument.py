from __future__ import annotations

import pytest

from include.errors import SettingsError
from include.market.instrument import parse_catalogue

CATALOGUE = parse_catalogue(
    {
        "stock": {
            "BRK-B": {"name": "Berkshire", "ids": {"yahoo": "BRK-B", "alpha_vantage": "BRK.B"}},
            "F": {"name": "Ford", "ids": {"yahoo": "F"}},
        },
        "crypto": {"UNI-USD": {"name": "Uniswap", "ids": {"binance": "UNIUSDT", "yahoo": "UNI7083-USD"}}},
    }
)


def test_each_source_has_its_own_name_for_an_instrument() -> None:
    berkshire = CATALOGUE.get("BRK-B")
    assert (berkshire.ids["yahoo"], berkshire.ids["alpha_vantage"]) == ("BRK-B", "BRK.B")
    assert CATALOGUE.get("UNI-USD").asset_class == "crypto"


def test_a_selection_keeps_the_order_of_the_setting() -> None:
    chosen = CATALOGUE.select("STOCK_SYMBOLS", ["F", "BRK-B"], "stock")
    assert [instrument.symbol for instrument in chosen] == ["F", "BRK-B"]


@pytest.mark.parametrize("symbol", ["NOPE", "UNI-USD"])
def test_a_wrong_symbol_is_refused_with_the_name_of_its_setting(symbol: str) -> None:
    with pytest.raises(SettingsError, match=f"STOCK_SYMBOLS: {symbol}"):
        CATALOGUE.select("STOCK_SYMBOLS", ["F", symbol], "stock")


def test_an_unknown_symbol_says_where_to_add_it() -> None:
    assert "NOPE" not in CATALOGUE
    with pytest.raises(SettingsError, match=r"config/instruments\.yaml"):
        CATALOGUE.get("NOPE")
