"""yfinance's way to Yahoo, bent to one host and one request a question.

yfinance's data layer is used for what it is good at, a session that Yahoo takes for a browser's. Its
error hiding is not: `Ticker.history` and `download` turn every failure but one into an empty frame, so
they are not called, and the data layer's own second request after a refusal is cut off here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from curl_cffi.requests import Session
from curl_cffi.requests.exceptions import RequestException
from yfinance.data import YfData  # type: ignore[import-untyped]

from include.errors import Transient
from include.sources.base import Answer
from include.sources.http import TOTAL_SECONDS, append_bounded


class _Refused(Exception):
    """Carries a refusal past yfinance."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class ChartSession(Session[Any]):
    """yfinance's session (a browser's fingerprint), with three differences.

    A refused request ends here: yfinance would send it again at once with other cookies, which
    doubles the calls just when the source asks for fewer. Redirects are not followed: the base URL
    is the one host that is spoken to. And a body is taken piece by piece, unpacked, up to a limit.
    """

    def __init__(self) -> None:
        super().__init__(impersonate="chrome", allow_redirects=False)

    def get(self, url: str, **options: Any) -> Any:
        """Raises BadPayload for a body above the limit: what a callback raises comes out here."""
        body = bytearray()

        def take(piece: bytes) -> int:
            append_bounded(body, piece, urlsplit(url).netloc)
            return len(piece)

        # Without TLS (the sandbox) curl would ask each time to change to HTTP/2.
        version: Literal["v1"] | None = "v1" if url.startswith("http:") else None
        response = super().get(url, content_callback=take, http_version=version, **options)
        response.content = bytes(body)
        if response.status_code >= 400:
            raise _Refused(_answer(response))
        return response


class ChartData(YfData):  # type: ignore[misc]
    """yfinance's data layer without its cookie and crumb.

    The chart is answered without them, and yfinance would fetch them first from hosts that no setting
    points elsewhere (fc.yahoo.com, query1.finance.yahoo.com, guce.yahoo.com), then keep the cookie in
    a file under the home folder. One instance a process, as in yfinance: the newest session serves all.
    """

    def _get_cookie_and_crumb(self, timeout: float = 30) -> tuple[None, str]:
        return None, self._cookie_strategy


class YahooTransport:
    """Asks through yfinance. A proxy of the environment is used; curl bounds the whole of a request in time."""

    def __init__(self, total_seconds: float = TOTAL_SECONDS) -> None:
        self._total_seconds = total_seconds
        self._data = ChartData(session=ChartSession())

    def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """See include.sources.client.Transport; `headers` are the browser's, and none of ours.

        yfinance's `get` and not its `cache_get`: a past range must show its late corrections.
        """
        try:
            return _answer(self._data.get(url, params=dict(params), timeout=self._total_seconds))
        except _Refused as refused:
            return refused.answer
        except RequestException as error:
            raise Transient(f"{urlsplit(url).netloc} did not answer: {type(error).__name__}") from None

    def close(self) -> None:
        """Nothing to close: the session belongs to the process."""


def _answer(response: Any) -> Answer:
    headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
    return Answer(response.status_code, headers, response.content)
