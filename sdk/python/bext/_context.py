"""What hooks get and what they may change. The words are those of docs/nsjail-protocol.md."""

from __future__ import annotations

import json

from ._errors import HostError
from ._host import read_body
from ._wire import from_wire, text, to_pairs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, overload

    from ._wire import HeadersInput, Message


class _Named:
    """Texts by name."""

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def get(self, name: str) -> str | None: ...

        @overload
        def get(self, name: str, default: str) -> str: ...

        def get(self, name: str, default: str | None = None) -> str | None:
            """The text, or `default`."""

    else:

        def get(self, name, default=None):
            text = self._find(name)
            return default if text is None else text


class Headers(_Named):
    """Header fields, read only. Names in any case; fields that the plugin may not see are not there."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[Any]) -> None:
        self._pairs = pairs

    def get_all(self, name: str) -> list[str]:
        """Each value. `get` gives them joined by ", ", which those of Set-Cookie cannot be."""
        wanted = name.lower()
        return [value for key, value in self._pairs if key == wanted]

    def has(self, name: str) -> bool:
        return name in self

    def items(self) -> list[tuple[str, str]]:
        """In order, names in lower case."""
        return [(name, value) for name, value in self._pairs]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.items())

    def __repr__(self) -> str:
        return f"Headers({self.items()!r})"

    def _find(self, name: str) -> str | None:
        values = self.get_all(name)
        return ", ".join(values) if values else None


class SearchParams(_Named):
    """The query, parsed as forms are. `get` gives the first value of a name."""

    __slots__ = ("_pairs",)

    def __init__(self, query: str) -> None:
        from urllib.parse import parse_qsl

        self._pairs = parse_qsl(query, keep_blank_values=True)

    def get_all(self, name: str) -> list[str]:
        return [value for key, value in self._pairs if key == name]

    def has(self, name: str) -> bool:
        return name in self

    def items(self) -> list[tuple[str, str]]:
        return list(self._pairs)

    def __contains__(self, name: object) -> bool:
        return any(key == name for key, _ in self._pairs)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.items())

    def __repr__(self) -> str:
        return f"SearchParams({self.items()!r})"

    def _find(self, name: str) -> str | None:
        return next((value for key, value in self._pairs if key == name), None)


class Body:
    """A body of the request or of the response. Reading may be repeated; it is still there for the app.

    Raises HostError ``E_BODY_NOT_DECLARED`` unless ``body`` under ``[sandbox]`` in plugin.toml asks for this side. Over
    64 KiB it is fetched from the host when it is first read; in an ``async`` function do that with
    ``await bext.aio.read(body)``.
    """

    __slots__ = ("_side", "_wire", "_bytes")

    def __init__(self, side: str, wire: Message | None) -> None:
        self._side = side
        self._wire = wire
        self._bytes: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes, known without reading."""
        if self._bytes is None and "bytes" in self._declared():
            return int(self._declared()["bytes"])
        return len(self.bytes())

    def bytes(self) -> bytes:
        if self._bytes is None:
            wire = self._declared()
            if "text" in wire:
                self._bytes = wire["text"].encode("utf-8", "surrogatepass")
            elif "base64" in wire:
                self._bytes = from_wire(wire)
            else:
                self._bytes = read_body(self._side, wire["bytes"])
        return self._bytes or b""

    def text(self) -> str:
        """Decoded as UTF-8; invalid bytes become U+FFFD."""
        return self.bytes().decode("utf-8", "replace")

    def json(self) -> Any:
        """Raises ValueError when it is not JSON."""
        return json.loads(self.bytes())

    def _declared(self) -> Message:
        if self._wire is None:
            line = f'body = "{self._side}" (or "both") under [sandbox] in plugin.toml'
            raise HostError("E_BODY_NOT_DECLARED", f"the body of the {self._side} is not there; {line} asks for it")
        return self._wire


class User:
    """Who a request speaks for."""

    __slots__ = ("id", "claims")

    def __init__(self, id: str, claims: Mapping[str, Any] | None = None) -> None:
        self.id = id
        self.claims: Mapping[str, Any] = {} if claims is None else claims

    def __repr__(self) -> str:
        return f"User({self.id!r}, {self.claims!r})"


class Extensions(_Named):
    """Short texts that plugins leave on a request for each other. `get` takes a "plugin.key", of any plugin."""

    __slots__ = ("_seen", "_changes", "_plugin")

    def __init__(self, seen: Mapping[str, str], changes: Message, plugin: str) -> None:
        self._seen = seen
        self._changes = changes
        self._plugin = plugin

    def set(self, key: str, value: str) -> None:
        """`key` is without prefix: the host adds the plugin's name. At most 32 keys, 8 KiB each."""
        self._changes.setdefault("extensions", {})[text(key, "key")] = text(value, "value")

    def _find(self, key: str) -> str | None:
        prefix, _, rest = key.partition(".")
        own = self._changes.get("extensions", {}) if prefix == self._plugin else {}
        return str(own[rest]) if rest in own else self._seen.get(key)


class _HeaderChanges:
    __slots__ = ("_fields",)

    def __init__(self, fields: Message) -> None:
        self._fields = fields

    def set_header(self, name: str, value: str) -> None:
        """Replaces all fields of this name."""
        self._take_back(name)
        self._fields.setdefault("set_headers", []).append((name, text(value, f"value of {name}")))

    def append_header(self, name: str, value: str) -> None:
        """Adds a field and keeps those of the same name."""
        pair = (text(name, "name of a header"), text(value, f"value of {name}"))
        self._fields.setdefault("add_headers", []).append(pair)

    def remove_header(self, name: str) -> None:
        self._take_back(name)
        self._fields.setdefault("remove_headers", []).append(name)

    def set_body(self, body: str | bytes) -> None:
        if not isinstance(body, (str, bytes, bytearray)):
            raise TypeError(f"a body is str or bytes, not {type(body).__name__}; for JSON: json.dumps(value)")
        self._fields["body"] = body

    def _take_back(self, name: str) -> None:
        """What was set and added before: the host removes first, then sets, then adds."""
        lower = text(name, "name of a header").lower()
        for kind in ("set_headers", "add_headers"):
            pairs = self._fields.get(kind)
            if pairs:
                self._fields[kind] = [pair for pair in pairs if pair[0].lower() != lower]


class RequestChanges(_HeaderChanges):
    """Changes of the request on its way to the app. They take effect when the function has returned.

    What the host refuses fails the call: ``E_HEADER_FORBIDDEN``, ``E_HEADER_INVALID``, ``E_PERMISSION``,
    ``E_PATH_REWRITE``, ``E_BODY_NOT_DECLARED``.
    """

    __slots__ = ()

    def set_path(self, path: str) -> None:
        """Absolute and normalised. Needs ``rewrite_path`` in ``[permissions]``."""
        self._fields["path"] = text(path, "path")

    def set_query(self, query: str) -> None:
        """Without "?". Needs ``rewrite_path``."""
        self._fields["query"] = text(query, "query")

    def set_method(self, method: str) -> None:
        """Needs ``rewrite_method``."""
        self._fields["method"] = text(method, "method")


class ResponseChanges(_HeaderChanges):
    """The response on its way out. Changes take effect when the function has returned."""

    __slots__ = ("_params", "_body")

    def __init__(self, params: Message, fields: Message) -> None:
        super().__init__(fields)
        self._params = params
        self._body: Body | None = None

    @property
    def status(self) -> int:
        return int(self._params.get("status", 200))

    @property
    def headers(self) -> Headers:
        return Headers(self._params.get("response_headers", ()))

    @property
    def body(self) -> Body:
        """Needs ``body = "response"`` or "both" under ``[sandbox]``."""
        if self._body is None:
            self._body = Body("response", self._params.get("response_body"))
        return self._body

    def set_status(self, status: int) -> None:
        """200 to 599."""
        if not isinstance(status, int):
            raise TypeError(f"a status is an int, not {type(status).__name__}")
        self._fields["status"] = status


class _ExchangeContext:
    """What every hook with a request sees."""

    __slots__ = ("_params", "_fields", "_host", "_body", "_search_params")

    def __init__(self, params: Message, host: Message) -> None:
        self._params = params
        self._host = host
        self._fields: Message = {}
        self._body: Body | None = None
        self._search_params: SearchParams | None = None

    @property
    def method(self) -> str:
        """As sent, for instance "GET"."""
        return str(self._params.get("method", "GET"))

    @property
    def path(self) -> str:
        """Absolute, percent-decoded once, without dot segments and "//"."""
        return str(self._params.get("path", "/"))

    @property
    def query(self) -> str:
        """Without "?", "" when there is none."""
        return str(self._params.get("query", ""))

    @property
    def search_params(self) -> SearchParams:
        if self._search_params is None:
            self._search_params = SearchParams(self.query)
        return self._search_params

    @property
    def host(self) -> str:
        """In lower case, with the port if the client sent one."""
        return str(self._params.get("host", ""))

    @property
    def hostname(self) -> str:
        """`host` without the port; IPv6 in brackets."""
        host = self.host
        end = host.rfind(":")
        return host[:end] if end > host.rfind("]") else host

    @property
    def scheme(self) -> str:
        """Either "http" or "https"."""
        return str(self._params.get("scheme", "http"))

    @property
    def client_address(self) -> str:
        """The client's IP address, after trusted proxies."""
        return str(self._params.get("client_address", ""))

    @property
    def request_id(self) -> str:
        return str(self._params.get("request_id", ""))

    @property
    def upgrade(self) -> str | None:
        """Is "websocket" when the client asks for one."""
        return self._params.get("upgrade")

    @property
    def headers(self) -> Headers:
        """Fields of the request. Sensitive ones (`cookie`, `authorization`, …) only when plugin.toml lists them."""
        return Headers(self._params.get("headers", ()))

    @property
    def body(self) -> Body:
        """Body of the request. Needs ``body = "request"`` or "both" under ``[sandbox]``."""
        if self._body is None:
            self._body = Body("request", self._params.get("body"))
        return self._body

    @property
    def user(self) -> User | None:
        """Who the request speaks for; None for nobody."""
        user = self._params.get("user")
        return None if user is None else User(user["id"], user.get("claims"))

    @property
    def tenant_id(self) -> str | None:
        return self._params.get("tenant_id")

    @property
    def site_id(self) -> str | None:
        return self._params.get("site_id")

    @property
    def leader(self) -> bool:
        """True in exactly one process of the server."""
        return bool(self._host["leader"])

    @property
    def extensions(self) -> Extensions:
        return Extensions(self._params.get("extensions", {}), self._fields, self._host["plugin"])


class RequestContext(_ExchangeContext):
    """What `on_request` gets."""

    __slots__ = ()

    @property
    def request(self) -> RequestChanges:
        return RequestChanges(self._fields)

    def set_identity(self, **identity: Any) -> None:
        """Says who the request speaks for: `user` (a User), `tenant_id`, `site_id`; None for nobody. Others stay.

        Needs ``identity`` in ``[permissions]``.
        """
        for name, value in identity.items():
            if name not in ("user", "tenant_id", "site_id"):
                raise TypeError(f"set_identity takes user, tenant_id and site_id, not {name}")
            self._fields[name] = {"id": value.id, "claims": value.claims} if isinstance(value, User) else value


class ResponseContext(_ExchangeContext):
    """What `on_response` gets. The request is history, only the response can change."""

    __slots__ = ("_response",)

    def __init__(self, params: Message, host: Message) -> None:
        super().__init__(params, host)
        self._response = ResponseChanges(params, self._fields)

    @property
    def response(self) -> ResponseChanges:
        return self._response


class Answer:
    """An answer in place of the app's, made by `respond`."""

    __slots__ = ("fields",)

    def __init__(self, status: int, body: str | bytes | None, headers: HeadersInput | None) -> None:
        if not isinstance(status, int):
            raise TypeError(f"a status is an int, not {type(status).__name__}")
        if body is not None and not isinstance(body, (str, bytes, bytearray)):
            raise TypeError(f"a body is str or bytes, not {type(body).__name__}; for JSON: bext.respond_json")
        self.fields: Message = {"action": "respond", "status": status}
        if headers:
            self.fields["headers"] = to_pairs(headers)
        if body:
            self.fields["body"] = body


class RequestCompleteEvent:
    """One finished request, for logs and statistics."""

    __slots__ = (
        "request_id",
        "method",
        "path",
        "status",
        "cache_status",
        "render_time_us",
        "duration_ms",
        "tenant_id",
        "site_id",
        "encoding",
        "is_bot",
    )

    def __init__(self, params: Message) -> None:
        get = params.get
        self.request_id: str = get("request_id", "")
        self.method: str = get("method", "GET")
        self.path: str = get("path", "/")
        self.status: int = get("status", 200)
        self.cache_status: str | None = get("cache_status")
        """"hit", "stale", "miss" or None."""
        self.render_time_us: float = get("render_time_us", 0)
        """Microseconds the handler took."""
        self.duration_ms: float = get("duration_ms", 0)
        """From accept to the end of the response."""
        self.tenant_id: str | None = get("tenant_id")
        self.site_id: str | None = get("site_id")
        self.encoding: str | None = get("encoding")
        """Content coding of the response, None for none."""
        self.is_bot: bool = get("is_bot", False)


class QueueMessage:
    """One delivery of a message. Returning acknowledges it; an exception has it delivered again later."""

    __slots__ = ("id", "queue", "value", "key", "attempt", "pushed_at_ms", "tenant_id")

    def __init__(self, params: Message) -> None:
        get = params.get
        self.id: str = get("id", "")
        """The same for every delivery of this message."""
        self.queue: str = get("queue", "")
        self.value: Any = get("value")
        """What was pushed. Written by whoever may push to the queue: check it."""
        self.key: str | None = get("key")
        self.attempt: int = get("attempt", 1)
        """Deliveries so far, this one included."""
        self.pushed_at_ms: float = get("pushedAtMs", 0)
        """Milliseconds since the epoch."""
        self.tenant_id: str | None = get("tenantId")
