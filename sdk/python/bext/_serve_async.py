from __future__ import annotations

import asyncio
import selectors

from ._channel import CALL
from ._errors import Cancelled
from ._hooks import handlers
from ._run import _success, answer_plain, failure, pack_body
from .aio import call, set_flush

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._channel import Channel
    from ._hooks import Handler
    from ._wire import Message


def serve_async(channel: Channel) -> None:
    # Unlike epoll, poll reads from files as well: `python3 main.py < calls.json`.
    loop = asyncio.SelectorEventLoop(getattr(selectors, "PollSelector", selectors.SelectSelector)())
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_Server(channel, loop).serve())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


class _Server:
    def __init__(self, channel: Channel, loop: asyncio.AbstractEventLoop) -> None:
        self._channel = channel
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = loop.create_future()
        self._will_flush = False

    async def serve(self) -> None:
        channel = self._channel
        channel.on_lines_elsewhere = lambda: self._loop.call_soon_threadsafe(self._start_calls)
        set_flush(self._loop, self._flush_soon)
        self._loop.add_reader(channel.source, self._read)
        await self._ended
        # What was begun is still answered: by hand, the input ends at once. The host kills what takes too long.
        while self._tasks:
            await asyncio.wait(self._tasks)
        channel.flush()

    def _read(self) -> None:
        self._channel.read_ready()
        self._start_calls()

    def _start_calls(self) -> None:
        channel = self._channel
        calls = channel.calls
        while calls:
            message = calls.popleft()
            handler = handlers.get(message["method"])
            if handler is None or not handler.is_async or message.get("id") in channel.cancelled:
                channel.answer(answer_plain(channel, message))
            else:
                self._start(handler, message)
        channel.flush()
        if channel.ended and not self._ended.done():
            self._loop.remove_reader(channel.source)
            self._ended.set_result(None)

    def _start(self, handler: Handler, message: Message) -> None:
        call_id = message.get("id")
        # The task takes over the value it has now.
        CALL.set(call_id)
        task = self._loop.create_task(self._answer(handler, message))
        CALL.set(None)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if call_id is not None:
            self._channel.begin(call_id, lambda: self._loop.call_soon_threadsafe(task.cancel))

    async def _answer(self, handler: Handler, message: Message) -> None:
        call_id = message.get("id")
        hook = handler.hook
        try:
            arguments = hook.to_arguments(message.get("params") or {})
            fields = hook.to_fields(arguments, await handler.function(*arguments))
            if fields and "body" in fields:
                body, pieces = pack_body(fields["body"])
                for piece in pieces:
                    await call("body.write", piece)
                fields = {**fields, "body": body}
            line = _success(call_id, fields)
        except asyncio.CancelledError:
            line = failure(call_id, Cancelled())
        except (Exception, Cancelled) as error:
            line = failure(call_id, error)
        if call_id is not None:
            self._channel.end(call_id)
        self._channel.answer(line)
        self._flush_soon()

    def _flush_soon(self) -> None:
        """What all tasks write in one round of the loop takes one write."""
        if not self._will_flush:
            self._will_flush = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._will_flush = False
        self._channel.flush()
