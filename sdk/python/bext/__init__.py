"""Plugins for bext in Python.

    import bext

    @bext.on_request
    def hello(ctx):
        if ctx.path == "/hello":
            return bext.respond(200, "Hello, " + ctx.search_params.get("name", "world") + "!")

    bext.run()

Functions may be plain or ``async``. Plain ones run one after the other; what they ask of the host (`storage`, `fetch`,
`queue`, `secret`) waits for the answer. Those that are ``async`` run at the same time, and ask ``await bext.aio.…``.

Inside the jail this package is on the path. See docs/nsjail.md.
"""

from __future__ import annotations

from types import MappingProxyType as _MappingProxyType

from . import _hooks, _host
from ._context import (
    Answer,
    Body,
    Extensions,
    Headers,
    QueueMessage,
    RequestChanges,
    RequestCompleteEvent,
    RequestContext,
    ResponseChanges,
    ResponseContext,
    SearchParams,
    User,
)
from ._errors import Cancelled, HostError
from ._fetch import FetchResponse, fetch
from ._hooks import (
    cache_delete,
    cache_get,
    cache_invalidate_path,
    cache_invalidate_tag,
    cache_is_healthy,
    cache_set,
    cleanup,
    on_cache_invalidate,
    on_cache_write,
    on_queue_message,
    on_reload,
    on_request,
    on_request_complete,
    on_response,
    on_server_start,
    on_server_stop,
    transform,
)
from ._host import Log, Queue, Storage, metric, secret
from ._run import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from . import aio as aio
    from ._wire import HeadersInput, Value

storage = Storage()
queue = Queue()
log = Log()
config: Mapping[str, Any] = _MappingProxyType(_hooks.config)
"""The plugin's own settings, defaults of its schema applied. Empty until the host has said hello: read it in hooks."""


def respond(status: int = 200, body: Value | None = None, headers: HeadersInput | None = None) -> Answer:
    """What `on_request` returns to answer in place of the app. `headers`: a dict, or pairs where names repeat.

    Text without a content-type is sent as ``text/plain;charset=UTF-8``.
    """
    return Answer(status, body, headers)


def respond_json(value: Any, status: int = 200, headers: HeadersInput | None = None) -> Answer:
    """As `respond`, with `value` as JSON."""
    from ._wire import encode, to_pairs

    pairs = [("content-type", "application/json"), *to_pairs(headers or ())]
    return Answer(status, encode(value), pairs)


def __getattr__(name: str) -> Any:
    # asyncio takes longer to load than all the rest: plain plugins do without.
    if name == "aio":
        from importlib import import_module

        return import_module("bext.aio")
    raise AttributeError(f"module 'bext' has no attribute {name!r}")


# In a jail, before what the plugin loads can write to standard output. Elsewhere this may be imported by a test.
if __file__.startswith("/bext/python/"):
    _host.open_channel()

__all__ = [
    "Answer",
    "Body",
    "Cancelled",
    "Extensions",
    "FetchResponse",
    "Headers",
    "HostError",
    "Log",
    "Queue",
    "QueueMessage",
    "RequestChanges",
    "RequestCompleteEvent",
    "RequestContext",
    "ResponseChanges",
    "ResponseContext",
    "SearchParams",
    "Storage",
    "User",
    "aio",
    "cache_delete",
    "cache_get",
    "cache_invalidate_path",
    "cache_invalidate_tag",
    "cache_is_healthy",
    "cache_set",
    "cleanup",
    "config",
    "fetch",
    "log",
    "metric",
    "on_cache_invalidate",
    "on_cache_write",
    "on_queue_message",
    "on_reload",
    "on_request",
    "on_request_complete",
    "on_response",
    "on_server_start",
    "on_server_stop",
    "queue",
    "respond",
    "respond_json",
    "run",
    "secret",
    "storage",
    "transform",
]
