"""What a plugin may ask of the host, for ``async`` functions: the same as in `bext`, to be awaited.

For instance ``seen = await bext.aio.storage.incr("seen")``.
"""

from __future__ import annotations

import asyncio
from threading import get_ident

from ._fetch import FetchResponse, fetch_params
from ._host import body_reads, cas_params, channel, push_params
from ._wire import from_wire, to_wire, value_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from ._context import Body
    from ._wire import HeadersInput, Message, Value

__all__ = ["fetch", "queue", "read", "secret", "storage"]


async def call(method: str, params: Message) -> Any:
    loop = asyncio.get_running_loop()
    thread = get_ident()
    answered: asyncio.Future[Message | None] = loop.create_future()

    def settle(result: Message | None) -> None:
        if not answered.done():
            answered.set_result(result)

    def settle_anywhere(result: Message | None) -> None:
        if get_ident() == thread:
            settle(result)
        else:
            loop.call_soon_threadsafe(settle, result)

    host = channel()
    host.call_later(method, params, settle_anywhere)
    if loop is _serving:
        _flush_soon()
    else:
        host.flush()
    return value_of(method, await answered)


_serving: asyncio.AbstractEventLoop | None = None
_flush_soon: Callable[[], None]


def set_flush(loop: asyncio.AbstractEventLoop, flush_soon: Callable[[], None]) -> None:
    """What is asked within this loop is written together."""
    global _serving, _flush_soon
    _serving, _flush_soon = loop, flush_soon


class Storage:
    """See `bext.Storage`."""

    async def get(self, key: str) -> Value | None:
        return from_wire(await call("storage.get", {"key": key}))  # type: ignore[no-any-return]

    async def set(self, key: str, value: Value, *, ttl_ms: int = 0) -> None:
        await call("storage.set", {"key": key, "value": to_wire(value), "ttl_ms": ttl_ms})

    async def delete(self, key: str) -> bool:
        return bool(await call("storage.delete", {"key": key}))

    async def keys(self, prefix: str = "", limit: int = 1000) -> list[str]:
        return list(await call("storage.keys", {"prefix": prefix, "limit": limit}))

    async def incr(self, key: str, by: int = 1, *, ttl_ms: int = 0) -> int:
        return int(await call("storage.incr", {"key": key, "by": by, "ttl_ms": ttl_ms}))

    async def cas(self, key: str, expected: Value | None, value: Value, *, ttl_ms: int = 0) -> bool:
        return bool(await call("storage.cas", cas_params(key, expected, value, ttl_ms)))

    async def flush(self) -> None:
        await call("storage.flush", {})


class Queue:
    """See `bext.Queue`."""

    async def push(self, queue: str, value: Any, *, key: str | None = None, delay_ms: int = 0) -> str:
        return str(await call("queue.push", push_params(queue, value, key, delay_ms)))


async def fetch(
    url: str,
    *,
    method: str = "GET",
    headers: HeadersInput | None = None,
    body: Value | None = None,
    redirect: str = "follow",
) -> FetchResponse:
    """See `bext.fetch`."""
    return FetchResponse(await call("fetch", fetch_params(url, method, headers, body, redirect)))


async def secret(name: str) -> str:
    """See `bext.secret`."""
    return str(await call("secret", {"name": name}))


async def read(body: Body) -> bytes:
    """Reads a body that was too long to come with the call. Then its `text()`, `json()` and `bytes()` do not wait."""
    if body._bytes is None and "bytes" in body._declared():
        pieces = [await call("body.read", piece) for piece in body_reads(body._side, body.size)]
        body._bytes = b"".join(from_wire(piece) for piece in pieces)
    return body.bytes()


storage = Storage()
queue = Queue()
