"""Where credentials come from: the environment or a connection id, never the configuration; filled in when connecting."""

import json
import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from hazy_pipeline import settings
from hazy_pipeline.errors import ConfigurationError

Secrets = Callable[[str], str]
"""Connection id -> SQLAlchemy URL (for sql) or JSON object of fsspec storage options (for files).

Airflow's two spellings of a connection, URI and JSON, are understood as well.
"""

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
_USER_INFO = re.compile(r"(?P<scheme>[A-Za-z][\w.+-]*://)(?P<user>[^/@]*@)?(?P<rest>.*)", re.DOTALL)
_NAME = re.compile(r"\W")


def environment_secrets(connection_id: str) -> str:
    """`HAZY_CONNECTION_<ID>`, else `AIRFLOW_CONN_<ID>`, from the environment, else what `hazy init` kept for its owner.

    Raises ConfigurationError where there is none of them.
    """
    own = f"HAZY_CONNECTION_{_NAME.sub('_', connection_id).upper()}"
    airflow = f"AIRFLOW_CONN_{connection_id.upper()}"
    for name in (own, airflow):
        if os.environ.get(name):
            return os.environ[name]
    kept = settings.connections_file()
    if kept.exists():
        urls = json.loads(kept.read_text(encoding="utf-8"))
        if connection_id in urls:
            return str(urls[connection_id])
    raise ConfigurationError(f"connection {connection_id!r}: neither {own} nor {airflow} is set; set one of them")


def fill_placeholders(text: str) -> str:
    """`${NAME}` -> that environment variable; in a URL's user and password part it is percent-encoded on the way.

    `${HAZY_HOME}` has its default where it is not set. Raises ConfigurationError naming a variable that is missing.
    """
    parts = _USER_INFO.fullmatch(text)
    if parts is None:
        return _PLACEHOLDER.sub(lambda found: _variable(found[1]), text)
    user = _PLACEHOLDER.sub(lambda found: quote(_variable(found[1]), safe=""), parts["user"] or "")
    return parts["scheme"] + user + _PLACEHOLDER.sub(lambda found: _variable(found[1]), parts["rest"])


def _variable(name: str) -> str:
    if name == "HAZY_HOME":
        return str(settings.home())
    value = os.environ.get(name)
    if value is None:
        raise ConfigurationError(f"${{{name}}}: the environment variable {name} is not set; set it, then run again")
    return value


def storage_options(connection: str | None, secrets: Secrets) -> dict[str, Any]:
    """The fsspec storage options that a connection id stands for; empty without one.

    An Airflow connection in JSON form gives login and password as `key` and `secret`, its extra as further options.
    """
    if connection is None:
        return {}
    try:
        options = json.loads(secrets(connection))
    except json.JSONDecodeError:
        options = None  # the decoder's own message would quote the secret
    if not isinstance(options, dict):
        raise ConfigurationError(
            f'connection {connection!r}: expected a JSON object of storage options, such as {{"key": ...}}'
        )
    if "conn_type" not in options:
        return options
    extra = options.get("extra") or {}
    if isinstance(extra, str):
        extra = json.loads(extra)
    named = {"key": options.get("login"), "secret": options.get("password"), **extra}
    return {name: value for name, value in named.items() if value is not None}
