"""What a plugin may ask of the host. Each function waits for its answer; `bext.aio` has the same to await."""

from __future__ import annotations

import sys

from ._channel import claim_descriptors
from ._wire import bytes_to_wire, from_wire, to_wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._channel import Channel
    from ._wire import Message, Value

BODY_PIECE = 196_608
"""Bytes of a body read or written at once. Source: docs/nsjail-protocol.md (at most 262144 in `body.read`)."""

_open: Channel | None = None


def open_channel() -> Channel:
    """Takes the descriptors, once."""
    global _open
    if _open is None:
        _open = claim_descriptors()
    return _open


def channel() -> Channel:
    if _open is None:
        raise RuntimeError("the host cannot be asked before bext.run(): ask in on_server_start, or in another hook")
    return _open


def call(method: str, params: Message) -> Any:
    return channel().call(method, params)


class Storage:
    """Keys and values of this plugin, and of the request's tenant. Text comes back as str, bytes as bytes.

    Keys are 1 to 512 bytes without NUL, slash, backslash and "..": ``E_STORAGE_KEY``. Other refusals:
    ``E_LIMIT_STORAGE``, ``E_STATE_UNAVAILABLE``.
    """

    def get(self, key: str) -> Value | None:
        """None when absent or expired."""
        return from_wire(call("storage.get", {"key": key}))  # type: ignore[no-any-return]

    def set(self, key: str, value: Value, *, ttl_ms: int = 0) -> None:
        """`ttl_ms`: milliseconds until it disappears, 0 = never."""
        call("storage.set", {"key": key, "value": to_wire(value), "ttl_ms": ttl_ms})

    def delete(self, key: str) -> bool:
        """Whether it was there."""
        return bool(call("storage.delete", {"key": key}))

    def keys(self, prefix: str = "", limit: int = 1000) -> list[str]:
        """Keys that start with `prefix`, sorted."""
        return list(call("storage.keys", {"prefix": prefix, "limit": limit}))

    def incr(self, key: str, by: int = 1, *, ttl_ms: int = 0) -> int:
        """Adds to a counter, atomically across processes; an absent key counts as 0. Returns the new value."""
        return int(call("storage.incr", {"key": key, "by": by, "ttl_ms": ttl_ms}))

    def cas(self, key: str, expected: Value | None, value: Value, *, ttl_ms: int = 0) -> bool:
        """Compare and set, atomically across processes; `expected` None = absent. Returns whether it was set."""
        return bool(call("storage.cas", cas_params(key, expected, value, ttl_ms)))

    def flush(self) -> None:
        """Returns when everything written so far is on disk."""
        call("storage.flush", {})


def cas_params(key: str, expected: Value | None, value: Value, ttl_ms: int) -> Message:
    was = None if expected is None else to_wire(expected)
    return {"key": key, "expected": was, "value": to_wire(value), "ttl_ms": ttl_ms}


class Queue:
    """Durable messages for later, to queues that ``permissions.queues`` lists."""

    def push(self, queue: str, value: Any, *, key: str | None = None, delay_ms: int = 0) -> str:
        """Returns the message's id, once it is on disk. `value` is anything JSON can say.

        Messages with the same `key` are handled one at a time, in order. Refusals: ``E_PERMISSION``,
        ``E_QUEUE_MESSAGE``, ``E_LIMIT_QUEUE``, ``E_STATE_UNAVAILABLE``.
        """
        return str(call("queue.push", push_params(queue, value, key, delay_ms)))


def push_params(queue: str, value: Any, key: str | None, delay_ms: int) -> Message:
    params = {"queue": queue, "value": value, "delay_ms": delay_ms}
    return params if key is None else {**params, "key": key}


def secret(name: str) -> str:
    """A secret the operator mapped to this name. Refusal: ``E_PERMISSION``."""
    return str(call("secret", {"name": name}))


def metric(name: str, value: float = 1, **tags: str) -> None:
    """Records one sample; the host prefixes the plugin's name. Does not wait, nor raise what the host refuses."""
    channel().notify("metric", {"name": name, "value": value, "tags": {tag: str(text) for tag, text in tags.items()}})


class Log:
    """Lines of the server's log, with the plugin's name and the request they belong to. Nothing waits.

    What is printed is logged as well, without the request.
    """

    def debug(self, message: object) -> None:
        _log("debug", message)

    def info(self, message: object) -> None:
        _log("info", message)

    def warn(self, message: object) -> None:
        _log("warn", message)

    def error(self, message: object) -> None:
        _log("error", message)


def _log(level: str, message: object) -> None:
    if _open is None:
        print(message, file=sys.stderr)
    else:
        _open.notify("log", {"level": level, "message": str(message)[:8192]})


def read_body(side: str, size: int) -> bytes:
    pieces = (call("body.read", piece) for piece in body_reads(side, size))
    return b"".join(from_wire(piece) for piece in pieces)


def body_reads(side: str, size: int) -> list[Message]:
    return [{"side": side, "offset": at, "length": BODY_PIECE} for at in range(0, size, BODY_PIECE)]


def body_writes(body: bytes) -> list[Message]:
    """The parameters of the calls that hand a long body over."""
    return [bytes_to_wire(body[at : at + BODY_PIECE]) for at in range(0, len(body), BODY_PIECE)]
