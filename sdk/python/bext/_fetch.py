from __future__ import annotations

from ._context import Body, Headers
from ._host import call
from ._wire import to_pairs, to_wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._wire import HeadersInput, Message, Value


class FetchResponse:
    """What `fetch` gives, with its whole body."""

    __slots__ = ("status", "url", "headers", "_body")

    def __init__(self, value: Message) -> None:
        self.status: int = value["status"]
        self.url: str = value["url"]
        """Where it came from, after redirects."""
        self.headers = Headers(value["headers"])
        self._body = Body("response", value["body"])

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def bytes(self) -> bytes:
        return self._body.bytes()

    def text(self) -> str:
        return self._body.text()

    def json(self) -> Any:
        return self._body.json()


def fetch(
    url: str,
    *,
    method: str = "GET",
    headers: HeadersInput | None = None,
    body: Value | None = None,
    redirect: str = "follow",
) -> FetchResponse:
    """Requests a URL that ``permissions.allowed_urls`` lists; the program has no network of its own.

    `redirect`: "follow", "manual" or "error". Refusals: ``E_FETCH_FORBIDDEN``, ``E_LIMIT_FETCH``, ``E_FETCH_FAILED``,
    ``E_LIMIT_MESSAGE``.
    """
    return FetchResponse(call("fetch", fetch_params(url, method, headers, body, redirect)))


def fetch_params(url: str, method: str, headers: HeadersInput | None, body: Value | None, redirect: str) -> Message:
    params: Message = {"url": url, "method": method, "redirect": redirect}
    if headers is not None:
        params["headers"] = to_pairs(headers)
    if body is not None:
        params["body"] = to_wire(body)
    return params
