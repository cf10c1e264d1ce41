"""yfinance's way to Yahoo, bent to one host and one request a question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from curl_cffi.requests import Session
from curl_cffi.requests.exceptions import RequestException
from yfinance.data import YfData  # type: ignore[import-untyped]

from include.errors import SourceError, Transient

TIMEOUT_SECONDS = 8

#: (status, Retry-After, body) to the error that the answer stands for, or None.
Refusal = Callable[[int, str | None, bytes], SourceError | None]


class ChartSession(Session[Any]):
    """yfinance's session (a browser's fingerprint), with two differences.

    A refused request ends here: yfinance would send it again at once with other cookies, which
    doubles the calls just when the source asks for fewer. And redirects are not followed: the base
    URL is the one host that is spoken to.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(impersonate="chrome", allow_redirects=False)
        self._refusal = refusal

    def get(self, url: str, **options: Any) -> Any:
        answer = super().get(url, **options)
        refused = self._refusal(answer.status_code, answer.headers.get("retry-after"), answer.content)
        if refused is not None:
            raise refused
        return answer


class ChartData(YfData):  # type: ignore[misc]
    """yfinance's data layer without its cookie and crumb.

    The chart is answered without them, and yfinance would fetch them first from hosts that no setting
    points elsewhere (fc.yahoo.com, query1.finance.yahoo.com, guce.yahoo.com), then keep the cookie in
    a file under the home folder. One instance a process, as in yfinance: the newest session serves all.
    """

    def _get_cookie_and_crumb(self, timeout: float = 30) -> tuple[None, str]:
        return None, self._cookie_strategy

    def chart(self, url: str, params: Mapping[str, Any]) -> bytes:
        """The body of a good answer. Raises what the session's refusal says, or Transient.

        `get` and not `cache_get`: a past range must show its late corrections.
        """
        try:
            return bytes(self.get(url, params=dict(params), timeout=TIMEOUT_SECONDS).content)
        except RequestException as error:
            raise Transient(f"yahoo did not answer: {type(error).__name__}") from error
