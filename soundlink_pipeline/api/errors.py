"""What may go wrong with the Soundlink API.

Every failure is a `SoundlinkError` whose text an operator can act on, with the API's own code and requestId:

    SoundlinkError
      KeyRefused          401: unknown, revoked or expired key             nothing else will work either
      NoToken             no token for an account's organization       nothing else of this account will work either
      AccessDenied        403 access_denied                                nothing else will work either
      ScopeMissing        403 insufficient_scope                           nothing that needs this scope will work
      RequestRefused      any other 4xx                                    this request will never work
      AskedToWait
        RateLimited       429, still after the last try
        ServerFault       5xx, still after the last try
      TurnedAway          429 or 5xx whose Retry-After is hours            nothing else will work either
      Unreachable         no whole answer: DNS, refused, TLS, time-out, cut connection, a compressed body that is
                          damaged or has no end, still after the last try
      TruncatedDelivery   fewer rows than X-Row-Count said, still after the last try
      WrongContent        an answer that is not what was requested: a login page, an envelope, a broken listing, an
                          encoding that was not asked for
      RedirectRefused     the API redirects to another host; the key is not sent there
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


class NoToken(SoundlinkError):
    """Without a token no request of this account makes sense, and retries are done by now.

    `reason` is what became of the last try, where the endpoint gave no answer that means anything.
    """

    fatal = True

    def __init__(self, message: str, *, reason: SoundlinkError | None = None, **details: str | None) -> None:
        super().__init__(message, **details)
        self.reason = reason


class AccessDenied(SoundlinkError):
    fatal = True


class ScopeMissing(SoundlinkError):
    pass


class RequestRefused(SoundlinkError):
    pass


class AskedToWait(SoundlinkError):
    """`retry_after`: the seconds that the API asks to wait, None if it names none."""

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
