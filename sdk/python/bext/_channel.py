"""Lines to and from the host, and who waits for which."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import deque
from contextvars import ContextVar
from itertools import count
from json.decoder import JSONDecoder
from time import perf_counter_ns

from ._errors import Cancelled
from ._wire import encode, value_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from ._wire import Message

    Answered = Callable[[Message | None], None]

CALL: ContextVar[int | None] = ContextVar("bext_call", default=None)
"""The call of the host that the running code belongs to."""

host: Message = {"plugin": "", "leader": False}
"""What the host said of itself."""

UNANSWERED = 256
"""As many calls of a program may wait for the host. Source: docs/nsjail-protocol.md."""

ANSWERS_WAIT_NS = 100_000
"""So long at most do answers wait to be written together with the next."""

_scan: Callable[[str, int], tuple[Any, int]] = JSONDecoder().scan_once  # type: ignore[attr-defined]


class Channel:
    """The two private descriptors. Any thread may call the host; whoever waits reads, for all."""

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self.ended = False
        self.calls: deque[Message] = deque()
        """Calls of the host that nobody has taken up yet."""
        self.cancelled: set[int | None] = set()
        self.on_lines_elsewhere: Callable[[], object] | None = None
        """Told when somebody who waited for an answer has read lines."""
        self._sink = sink
        self._open: dict[int, Callable[[], object] | None] = {}
        self._pieces: list[bytes] = []
        self._waiting: dict[int, Answered] = {}
        self._held_back: deque[str] = deque()
        self._ids = count(1)
        self._changed = threading.Condition(threading.Lock())
        self._reading = False
        self._outgoing: list[str] = []
        self._written_ns = perf_counter_ns()
        self._writing = threading.Lock()

    def wait_for_calls(self) -> bool:
        """Returns once there are calls; false when the host has closed its end."""
        self._wait(lambda: bool(self.calls), None)
        return bool(self.calls)

    def call(self, method: str, params: Message) -> Any:
        """Calls the host, and waits for its answer.

        Raises HostError for a refusal, Cancelled when the call it belongs to is over, EOFError without a host.
        """
        result: list[Message | None] = []
        current = CALL.get()
        self._ask(method, params, current, result.append)
        self._wait(lambda: bool(result), current)
        return value_of(method, result[0] if result else None)

    def call_later(self, method: str, params: Message, answered: Answered) -> None:
        """Calls the host with the next `flush`; the thread that reads the answer gives its parameters to `answered`.

        None: the host has closed its end.
        """
        self._ask(method, params, CALL.get(), answered)

    def notify(self, method: str, params: Message) -> None:
        """Calls the host and wants no answer."""
        self._put(_call_line(method, params, None, CALL.get()))
        self.flush()

    def answer(self, line: str) -> None:
        """Answers a call, at the latest with the next `flush`."""
        self._put(line)
        if perf_counter_ns() - self._written_ns > ANSWERS_WAIT_NS:
            self.flush()

    def flush(self) -> None:
        """Writes everything there is to write."""
        with self._writing:
            lines, self._outgoing = self._outgoing, []
            data = "".join(lines).encode()
            while data:
                data = data[os.write(self._sink, data) :]
            self._written_ns = perf_counter_ns()

    def begin(self, call_id: int, cancel: Callable[[], object] | None) -> None:
        """Says how a call that runs is ended before its time; None: by not letting it wait for the host."""
        self._open[call_id] = cancel
        if cancel is not None and call_id in self.cancelled:
            cancel()

    def end(self, call_id: int) -> None:
        self._open.pop(call_id, None)
        if self.cancelled:
            self.cancelled.discard(call_id)

    def read_ready(self) -> None:
        """Reads once. For an event loop that knows that there is something to read."""
        with self._changed:
            if self._reading or not _is_readable(self.source):
                return
            self._reading = True
        self._read_for_all()

    def forget_descriptors(self) -> None:
        """In a fork: only one process may speak to the host."""
        os.close(self.source)
        os.close(self._sink)
        self.source = self._sink = -1

    def _wait(self, is_done: Callable[[], bool], current: int | None) -> None:
        self.flush()
        while True:
            with self._changed:
                while self._reading and not is_done() and current not in self.cancelled:
                    self._changed.wait()
                if is_done() or self.ended:
                    return
                if current in self.cancelled:
                    raise Cancelled
                self._reading = True
            self._read_for_all()
            if self.on_lines_elsewhere is not None:
                self.on_lines_elsewhere()

    def _read_for_all(self) -> None:
        lines = b""
        try:
            lines = self._read()
        finally:
            with self._changed:
                self._reading = False
                self._changed.notify_all()
                self._take(lines)
                if self.ended:
                    self._abandon()

    def _read(self) -> bytes:
        """The whole lines of one read, without the last end of line."""
        try:
            data = os.read(self.source, 262_144)
        except OSError:
            data = b""
        if not data:
            self.ended = True
            rest, self._pieces = b"".join(self._pieces), []
            return rest
        end = data.rfind(b"\n")
        if end < 0:
            self._pieces.append(data)
            return b""
        lines = b"".join(self._pieces) + data[:end] if self._pieces else data[:end]
        self._pieces = [data[end + 1 :]] if end + 1 < len(data) else []
        return lines

    def _take(self, lines: bytes) -> None:
        for line in lines.decode("utf-8", "replace").split("\n"):
            if not line:
                continue
            try:
                message = _scan(line, 0)[0]
            except (StopIteration, ValueError):
                message = None
            if message is None or line[0] != "{":
                message = _parse_leniently(line)
                if message is None:
                    continue
            method = message.get("method")
            if method == "result":
                self._settle(message)
            elif method == "cancel":
                self._cancel((message.get("params") or {}).get("id"))
            elif method == "leader":
                host["leader"] = message.get("params") is True
            else:
                call_id = message.get("id")
                if call_id is not None:
                    self._open[call_id] = None
                self.calls.append(message)

    def _settle(self, message: Message) -> None:
        answered = self._waiting.pop(message.get("id", 0), None)
        if answered is not None:
            answered(message.get("params") or {})
        if self._held_back:
            self._put(self._held_back.popleft())
            self.flush()

    def _abandon(self) -> None:
        """Nothing that is asked will be answered."""
        waiting, self._waiting = self._waiting, {}
        for answered in waiting.values():
            answered(None)

    def _cancel(self, call_id: Any) -> None:
        if call_id not in self._open:
            return
        self.cancelled.add(call_id)
        cancel = self._open[call_id]
        if cancel is not None:
            cancel()

    def _ask(self, method: str, params: Message, current: int | None, answered: Answered) -> None:
        call_id = next(self._ids)
        line = _call_line(method, params, call_id, current)
        with self._changed:
            self._waiting[call_id] = answered
            is_held_back = len(self._waiting) > UNANSWERED
            if is_held_back:
                self._held_back.append(line)
            if self.ended:
                self._abandon()
        if not is_held_back:
            self._put(line)

    def _put(self, line: str) -> None:
        with self._writing:
            self._outgoing.append(line)


def claim_descriptors() -> Channel:
    """Takes descriptors 0 and 1 away from everything else in this process, and from programs it starts.

    What is printed goes to the log from now on, and nobody but the channel reads the lines of the host.
    """
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    # What was printed so far and is still in the buffer goes to the log as well.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    channel = Channel(source, sink)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=channel.forget_descriptors)
    return channel


def _call_line(method: str, params: Message, call_id: int | None, current: int | None) -> str:
    line: Message = {"method": method, "params": params}
    if call_id is not None:
        line["id"] = call_id
    if current is not None:
        line["call"] = current
    return encode(line) + "\n"


def _parse_leniently(line: str) -> Message | None:
    """A line as people type it, with space around it. The host's never get here."""
    if not line.strip():
        return None
    try:
        message = json.loads(line)
    except ValueError as error:
        message = error
    if isinstance(message, dict):
        return message
    why = message if isinstance(message, ValueError) else "it is not an object"
    print(f"bext: not a line of the host ({why}): {line[:200]}", file=sys.stderr)
    return None


def _is_readable(descriptor: int) -> bool:
    from select import select

    return bool(select([descriptor], [], [], 0)[0])
