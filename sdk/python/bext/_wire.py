"""How values are written in lines."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from json import JSONEncoder

from ._errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Union

    Message = dict[str, Any]
    Value = Union[str, bytes]
    HeadersInput = Union[Mapping[str, str], Iterable[tuple[str, str]]]

encode = JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def to_wire(value: Value) -> str | Message:
    """Text as it is, bytes in base64."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes_to_wire(value)
    raise TypeError(f"expected str or bytes, not {type(value).__name__}")


def bytes_to_wire(value: bytes | bytearray | memoryview) -> Message:
    return {"base64": b2a_base64(value, newline=False).decode()}


def from_wire(value: Any) -> Any:
    return a2b_base64(value["base64"]) if isinstance(value, dict) else value


def value_of(method: str, params: Message | None) -> Any:
    """What a `result` says; None: none will come. Raises HostError for a refusal, EOFError without a host."""
    if params is None:
        raise EOFError(f"there is no host to answer {method}: standard input has ended")
    error = params.get("error")
    if error is not None:
        raise HostError(str(error.get("code")), str(error.get("message")))
    return params.get("value")


def to_pairs(headers: HeadersInput) -> list[tuple[str, str]]:
    pairs: Any = headers.items() if hasattr(headers, "items") else headers
    return [(text(name, "name of a header"), text(value, f"value of {name}")) for name, value in pairs]


def text(value: Any, what: str) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"{what}: expected str, not {type(value).__name__}")
