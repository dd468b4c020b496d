"""The hooks: how each is called, and what its result becomes on the wire."""

from __future__ import annotations

from types import MappingProxyType

from ._channel import host
from ._context import Answer, QueueMessage, RequestCompleteEvent, RequestContext, ResponseContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, TypeVar

    from ._wire import Message

    Function = TypeVar("Function", bound=Callable[..., Any])
    Arguments = tuple[Any, ...]

config: dict[str, Any] = {}
"""The settings of `hello`."""

handlers: dict[str, Handler] = {}
"""The plugin's functions, by the name of the hook in lines."""


class Handler:
    __slots__ = ("hook", "function", "is_async")

    def __init__(self, hook: Hook, function: Callable[..., Any]) -> None:
        self.hook = hook
        self.function = function
        self.is_async = bool(getattr(_code(function), "co_flags", 0) & _CO_COROUTINE)


class Hook:
    __slots__ = ("name", "arguments", "to_arguments", "to_fields")

    def __init__(
        self,
        name: str,
        arguments: str,
        to_arguments: Callable[[Message], Arguments],
        to_fields: Callable[[Arguments, Any], Message | None],
    ) -> None:
        self.name = name
        self.arguments = arguments
        """Names, for messages."""
        self.to_arguments = to_arguments
        self.to_fields = to_fields
        """Fields of the answer besides `id` and `ok`; None: there are none."""

    def __call__(self, function: Function) -> Function:
        """Decorates the plugin's function for this hook."""
        method = self.method
        if method in handlers:
            raise TypeError(f"{self.name} has a function already: {handlers[method].function.__qualname__}")
        wanted = len(self.arguments.split(", ")) if self.arguments else 0
        if not _takes(function, wanted):
            raise TypeError(f"{self.name} calls its function with ({self.arguments})")
        handlers[method] = Handler(self, function)
        return function

    @property
    def method(self) -> str:
        first, *rest = self.name.split("_")
        return first + "".join(word.capitalize() for word in rest)


_CO_VARARGS, _CO_COROUTINE = 0x04, 0x80


def _code(function: Any) -> Any:
    return getattr(function, "__code__", None)


def _takes(function: Any, wanted: int) -> bool:
    """Whether it can be called with as many arguments; unknown callables can."""
    code = _code(function)
    if code is None or code.co_flags & _CO_VARARGS or hasattr(function, "__self__"):
        return True
    optional = len(function.__defaults__ or ())
    return bool(code.co_argcount - optional <= wanted <= code.co_argcount)


def _to_request(params: Message) -> Arguments:
    return (RequestContext(params, host),)


def _from_request(arguments: Arguments, result: Any) -> Message | None:
    if result is None:
        return arguments[0]._fields or None
    if isinstance(result, Answer):
        changes = arguments[0]._fields
        changes.pop("body", None)
        return {**changes, **result.fields}
    raise TypeError(f"on_request returned {_kind(result)}: return None to go on, or bext.respond(...) to answer")


def _to_response(params: Message) -> Arguments:
    return (ResponseContext(params, host),)


def _from_response(arguments: Arguments, result: Any) -> Message | None:
    if result is None:
        return arguments[0]._fields or None
    raise TypeError(f"on_response returned {_kind(result)}: it returns nothing, ctx.response changes the response")


def _nothing(_params: Message) -> Arguments:
    return ()


def _ignore(_arguments: Arguments, _result: Any) -> None:
    return None


def _result(_arguments: Arguments, result: Any) -> Message | None:
    return None if result is None else {"result": result}


def _from_transform(_arguments: Arguments, result: Any) -> Message | None:
    if result is None or isinstance(result, str):
        return _result((), result)
    raise TypeError(f"transform returned {_kind(result)}: return the new text, or None to leave it as it is")


def _kind(value: Any) -> str:
    return f"{type(value).__name__} {value!r:.80}"


def _config(_params: Message) -> Arguments:
    return (MappingProxyType(config),)


on_request = Hook("on_request", "ctx", _to_request, _from_request)
on_response = Hook("on_response", "ctx", _to_response, _from_response)
on_server_start = Hook("on_server_start", "config", _config, _ignore)
on_server_stop = Hook("on_server_stop", "", _nothing, _ignore)
on_request_complete = Hook("on_request_complete", "event", lambda p: (RequestCompleteEvent(p),), _ignore)
on_cache_write = Hook("on_cache_write", "key, tags", lambda p: (p["key"], p["tags"]), _ignore)
on_cache_invalidate = Hook("on_cache_invalidate", "pattern, count", lambda p: (p["pattern"], p["count"]), _ignore)
on_reload = Hook("on_reload", "", _nothing, _ignore)
on_queue_message = Hook("on_queue_message", "message", lambda p: (QueueMessage(p),), _ignore)
cleanup = Hook("cleanup", "", _nothing, _ignore)
transform = Hook(
    "transform", "source, path, context", lambda p: (p["source"], p["path"], p.get("context", {})), _from_transform
)
cache_get = Hook("cache_get", "key", lambda p: (p["key"],), _result)
cache_set = Hook("cache_set", "key, entry, ttl_ms", lambda p: (p["key"], p["entry"], p.get("ttl_ms")), _ignore)
cache_delete = Hook("cache_delete", "key", lambda p: (p["key"],), _result)
cache_invalidate_tag = Hook("cache_invalidate_tag", "tag", lambda p: (p["tag"],), _result)
cache_invalidate_path = Hook("cache_invalidate_path", "glob", lambda p: (p["path"],), _result)
cache_is_healthy = Hook("cache_is_healthy", "", _nothing, _result)
