"""Serving: one call after the other, or in an event loop when a function of the plugin is `async`."""

from __future__ import annotations

import atexit
import os
import sys

from . import _host
from ._channel import CALL, host
from ._errors import Cancelled, HostError
from ._hooks import config, handlers
from ._wire import bytes_to_wire, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ._channel import Channel
    from ._wire import Message

LONG_BODY = 131_072
"""A longer body of an answer is handed over in pieces."""

_concurrency: int | None = None
_was_run = False


def run(*, concurrency: int | None = None) -> None:
    """Serves until the host closes its end; then it returns.

    `concurrency`: the most calls to have at the same time, 1 to 1024; the host's default is 64. Plain functions run one
    after the other whatever it says.
    """
    global _concurrency, _was_run
    _concurrency = concurrency
    _was_run = True
    if not handlers:
        raise RuntimeError(
            "nothing to serve: decorate a function with @bext.on_request, or another hook, before bext.run()"
        )
    if os.isatty(0):
        print(HELP.format(program=sys.argv[0] or "main.py"), file=sys.stderr)
    channel = _host.open_channel()
    try:
        if any(handler.is_async for handler in handlers.values()):
            from ._serve_async import serve_async

            serve_async(channel)
        else:
            serve_plain(channel)
    except (BrokenPipeError, ConnectionResetError):
        pass  # The host is gone.
    except KeyboardInterrupt:
        sys.exit(130)


HELP = """bext: this program is a plugin. It reads a line of JSON for each call and answers with one. Try

  {{"method":"onRequest","params":{{"method":"GET","path":"/"}},"id":1}}

and end it with Ctrl-D. In one line of a shell:

  echo '{{"method":"onRequest","params":{{"path":"/"}},"id":1}}' | python3 {program}
"""


@atexit.register
def _remind() -> None:
    """Without this a forgotten `run` would say nothing at all. Tests import a plugin and do not run it."""
    if not _was_run and any(handler.function.__module__ == "__main__" for handler in handlers.values()):
        print("bext: the program has ended and never called bext.run()", file=sys.stderr)


def serve_plain(channel: Channel) -> None:
    calls = channel.calls
    while channel.wait_for_calls():
        while calls:
            message = calls.popleft()
            channel.answer(answer_plain(channel, message))
    channel.flush()


def answer_plain(channel: Channel, message: Message) -> str:
    """Runs the hook. SystemExit and KeyboardInterrupt pass through."""
    call_id = message.get("id")
    CALL.set(call_id)
    try:
        if call_id in channel.cancelled:
            raise Cancelled
        handler = handlers.get(message["method"])
        if handler is None:
            return _success(call_id, answer_itself(message))
        hook = handler.hook
        arguments = hook.to_arguments(message.get("params") or {})
        result = handler.function(*arguments)
        if hasattr(result, "__await__"):
            getattr(result, "close", lambda: None)()
            raise TypeError(f"{hook.name}: the function is not async and returned something to await")
        fields = hook.to_fields(arguments, result)
        if fields and "body" in fields:
            body, pieces = pack_body(fields["body"])
            for piece in pieces:
                channel.call("body.write", piece)
            fields = {**fields, "body": body}
        return _success(call_id, fields)
    except (Exception, Cancelled) as error:
        return failure(call_id, error)
    finally:
        CALL.set(None)
        if call_id is not None:
            channel.end(call_id)


def answer_itself(message: Message) -> Message:
    """To `hello`, or to what the plugin has no function for."""
    method, params = message["method"], message.get("params") or {}
    if method != "hello":
        raise LookupError(f"the plugin has no function for {method}")
    host["plugin"] = params.get("plugin", "")
    config.update(params.get("config") or {})
    more = {} if _concurrency is None else {"concurrency": _concurrency}
    return {"protocol": 1, "hooks": list(handlers), **more}


def pack_body(body: Any) -> tuple[Any, Iterator[Message]]:
    """The field `body` of an answer, and what has to be written before."""
    if len(body) > LONG_BODY:
        data = body.encode() if isinstance(body, str) else bytes(body)
        return {"written": True}, iter(_host.body_writes(data))
    return (body if isinstance(body, str) else bytes_to_wire(body)), iter(())


def _success(call_id: Any, fields: Message | None) -> str:
    if fields is None and type(call_id) is int:
        return f'{{"id":{call_id},"ok":true}}\n'
    return encode({**_id(call_id), "ok": True, **(fields or {})}) + "\n"


def failure(call_id: Any, error: BaseException) -> str:
    """The traceback goes to the log; the answer says what happened, and where in the plugin."""
    if isinstance(error, Cancelled):
        return encode({**_id(call_id), "error": "cancelled"}) + "\n"
    where = _print_traceback(error)
    message = f"{type(error).__name__}: {_say(error)}"[:4000] + where
    if isinstance(error, HostError):
        return encode({**_id(call_id), "error": {"message": error.args[0], "code": error.code}}) + "\n"
    return encode({**_id(call_id), "error": {"message": message}}) + "\n"


def _say(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "an exception that cannot be printed"


def _id(call_id: Any) -> Message:
    return {} if call_id is None else {"id": call_id}


def _print_traceback(error: BaseException) -> str:
    """Returns the innermost place in the plugin's own code, as " (main.py:12)"."""
    import traceback

    trace = error.__traceback__
    while trace is not None and os.path.dirname(_file(trace)) == os.path.dirname(__file__):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)
    folder = os.path.dirname(os.path.abspath(sys.argv[0])) + os.sep
    place = ""
    while trace is not None:
        file = os.path.abspath(_file(trace))
        if file.startswith(folder) and "site-packages" not in file:
            place = f" ({file[len(folder) :]}:{trace.tb_lineno})"
        trace = trace.tb_next
    return place


def _file(trace: Any) -> str:
    return str(trace.tb_frame.f_code.co_filename)
