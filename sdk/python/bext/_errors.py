from __future__ import annotations


class HostError(Exception):
    """What the host refused: a permission, a spent budget, invalid data. Left uncaught, it fails the call.

    ``code`` is one of bext's error codes, such as ``E_PERMISSION`` or ``E_STORAGE_KEY``; ``bext explain CODE``
    describes each.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __str__(self) -> str:
        return f"{self.args[0]} [{self.code}]"


class Cancelled(BaseException):
    """Raised in a plain function that waits for the host when its call is over: too late, or the client is gone.

    Not an ``Exception``, so that ``except Exception`` does not hold it up. In an ``async`` function it is
    ``asyncio.CancelledError``.
    """
