"""What Superset is told for `make dashboard`: the rest is its own default."""

import os
from copy import deepcopy
from pathlib import Path

from superset.config import TALISMAN_CONFIG as _DEFAULT

_STATE = Path(os.environ["SUPERSET_HOME"])

APP_NAME = "Soundlink"
# Made on the first start, for this machine alone (serve.py).
SECRET_KEY = (_STATE / "secret_key").read_text(encoding="ascii")
SQLALCHEMY_DATABASE_URI = f"sqlite:///{os.environ['SUPERSET_DATABASE']}"
# Nobody signs in: it is served to this machine alone, and whoever opens it may read, not change.
AUTH_ROLE_PUBLIC = "Public"
PUBLIC_ROLE_LIKE = "Public"
# The browser asks no other host: Superset's default allows its makers' counter, and servers of maps and fonts.
TALISMAN_CONFIG = deepcopy(_DEFAULT)
for _source in ("img-src", "connect-src", "style-src", "font-src"):
    _allowed = TALISMAN_CONFIG["content_security_policy"][_source]
    TALISMAN_CONFIG["content_security_policy"][_source] = [
        source for source in _allowed if source.startswith("'") or source in ("blob:", "data:")
    ]
# Its own log of each query and each translation file would bury the address.
LOG_LEVEL = "ERROR"
