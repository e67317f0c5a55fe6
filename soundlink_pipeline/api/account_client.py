"""A client for an account: with its credential, at its pace, and with what is known of its way in.

What accounts share, and what they do not, is in the names of their files in the data folder.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from soundlink_pipeline.api.auth import SchemeMemory
from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.api.key import ApiKey
from soundlink_pipeline.api.oauth import TOKENS_PER_HOUR, TOKENS_PER_MINUTE, OAuthAccess, OAuthClient, Tokens
from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.settings.accounts import DEFAULT_ACCOUNT, Account


@contextmanager
def account_client(
    base_url: str,
    account: Account,
    secret: str,
    folder: Path,
    *,
    tokens: Tokens,
    memory: SchemeMemory,
    cancelled: threading.Event,
    on_wait: Callable[[float], None] = lambda _: None,
    waits: bool = True,
    **options: Any,
) -> Iterator[tuple[SoundlinkClient, Pacer]]:
    """A client and its pacer, whose counts are in `folder`: all processes with this folder share the limits.

    `secret` is the key, or the secret of the OAuth client. Without `waits` Cancelled is raised in place of any wait.
    Further options are those of `SoundlinkClient`. Raises ValueError for a URL or a secret that cannot be one.
    """
    credential = _credential(account, secret)  # first, so that what can be no secret leaves no file
    with ExitStack() as closing:

        def pacer(file: str, per_minute: int, per_hour: int) -> Pacer:
            return closing.enter_context(
                Pacer(folder / file, per_minute, per_hour, cancelled=cancelled, on_wait=on_wait, waits=waits)
            )

        paced = pacer(requests_file(account), account.requests_per_minute, account.requests_per_hour)
        access: ApiKey | OAuthAccess
        if isinstance(credential, OAuthClient):
            counted = pacer(tokens_file(account), TOKENS_PER_MINUTE, TOKENS_PER_HOUR)
            access = OAuthAccess(client=credential, tokens=tokens, pacer=counted)
        else:
            access = credential
        client = SoundlinkClient(base_url, access, paced, auth=account.auth, memory=memory, **options)
        yield closing.enter_context(client), paced


def requests_file(account: Account) -> str:
    """The file that counts an account's requests: the API's limits are per key, and per client of OAuth."""
    if account.client_id is not None:
        return f"requests.client-{_short(account.client_id)}.sqlite"
    return "requests.sqlite" if account.name == DEFAULT_ACCOUNT else f"requests-{account.name}.sqlite"


def tokens_file(account: Account) -> str:
    """The file that counts how often a client of OAuth asks for tokens, which has a limit of its own."""
    return f"tokens.client-{_short(account.client_id or '')}.sqlite"


def _credential(account: Account, secret: str) -> ApiKey | OAuthClient:
    return ApiKey(secret, account) if account.client_id is None else OAuthClient(account, secret)


def _short(client_id: str) -> str:
    """A client's id as a part of a file's name, which it may not be fit for itself."""
    return hashlib.sha256(client_id.encode()).hexdigest()[:16]
