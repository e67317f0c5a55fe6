"""What may go wrong with the Soundlink API.

Every failure is a `SoundlinkError` whose text an operator can act on, with the API's own code and requestId:

    SoundlinkError
      KeyRefused          401: unknown, revoked or expired key             nothing else will work either
      ScopeMissing        403 insufficient_scope                           nothing else will work either
      RequestRefused      any other 4xx                                    this request will never work
      AskedToWait
        RateLimited       429, still after the last try
        ServerFault       5xx, still after the last try
      TurnedAway          429 or 5xx that asks to be left alone for hours  nothing else will work either
      Unreachable         no answer: DNS, refused, TLS, time-out, cut connection, still after the last try
      TruncatedDelivery   fewer rows than X-Row-Count said, still after the last try
      WrongContent        an answer that is not what was asked for: a login page, an envelope, a broken listing
      RedirectRefused     the API sent us to another host; the key stays here
"""

from __future__ import annotations


class SoundlinkError(Exception):
    """Base of all failures. `transient`: the same request may work later; `fatal`: no other will work either."""

    transient = False
    fatal = False

    def __init__(self, message: str, *, code: str | None = None, request_id: str | None = None) -> None:
        self.code = code
        self.request_id = request_id
        details = ", ".join(
            text for text in (f"code {code}" if code else "", f"requestId {request_id}" if request_id else "") if text
        )
        super().__init__(f"{message} ({details})" if details else message)


class KeyRefused(SoundlinkError):
    fatal = True


class ScopeMissing(SoundlinkError):
    fatal = True


class RequestRefused(SoundlinkError):
    pass


class AskedToWait(SoundlinkError):
    """The API may say for how many seconds it wants to be left alone: `retry_after`, None if it did not."""

    transient = True

    def __init__(self, message: str, *, retry_after: float | None = None, **details: str | None) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


class RateLimited(AskedToWait):
    pass


class ServerFault(AskedToWait):
    pass


class Unreachable(SoundlinkError):
    transient = True


class TruncatedDelivery(SoundlinkError):
    transient = True


class WrongContent(SoundlinkError):
    pass


class RedirectRefused(SoundlinkError):
    fatal = True


class TurnedAway(SoundlinkError):
    fatal = True
