"""From "here is my data" to a Generator's YAML."""

import difflib
import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from hazy_pipeline import settings
from hazy_pipeline.config import NAME, FilesSource, GeneratorConfig, SqlSource, load_config
from hazy_pipeline.connectors import environment_secrets, open_connector
from hazy_pipeline.connectors.listing import shown
from hazy_pipeline.errors import ConfigurationError

_KNOWN = ("sqlite", "postgresql", "postgres", "mysql", "mariadb")
_DATABASES = re.compile(rf"({'|'.join(_KNOWN)})(\+\w+)?://", re.IGNORECASE)
_EXISTS = "{}: exists already, for another source; give another name (NAME=..., --name)"


def write_generator(data: str, *, table: str | None = None, target: str | None = None, name: str | None = None,
                    into: Path | None = None) -> Path:  # fmt: skip
    """Write `<name>.yaml` for a file (path, glob, fsspec URL) or a database URL, having looked at the source.

    A password in the URL goes into `$HAZY_HOME/connections.json` (readable by the owner alone), never into the YAML. A
    file that is there already and means the same is kept. Raises ConfigurationError or SourceError.
    """
    into = into or settings.generators_folder()
    name = name or _name(table or data)
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            f"name: {name!r} is not a Generator name; use lower-case letters, digits and _, a letter first"
        )
    secret: str | None = None
    source: dict[str, object]
    if _DATABASES.match(data):
        if not table:
            raise ConfigurationError("which table? Give its name: TABLE=... with make, --table with hazy init")
        secret = data if urlsplit(data).password else None
        way_in = {"connection": name} if secret else {"url": _absolute_sqlite(data)}
        source = {"connector": "sql", **way_in, "table": table}
    else:
        if table:
            raise ConfigurationError(
                f"table {table!r} was given, but {shown(data)!r} is no database that is known here ({', '.join(_KNOWN)}); "
                "leave the table out if it is a file"
            )
        source = {"connector": "files", "path": data if "://" in data else str(Path(data).expanduser().resolve())}
        source |= _known_csv(into / f"{name}.yaml", source) or _found_csv(source)
    columns = _columns(name, source, secret)
    if target is not None and target not in columns:
        close = difflib.get_close_matches(target, columns, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(map(repr, columns[:40]))}"
        raise ConfigurationError(f"target: {shown(data)} has no column {target!r}{hint}")
    file = into / f"{name}.yaml"
    if secret:
        _keep_connection(name, secret, file)
    _write(file, _text(name, source, target))
    load_config(file)
    return file


def _columns(name: str, source: dict[str, object], secret: str | None) -> list[str]:
    kind = SqlSource if source["connector"] == "sql" else FilesSource
    secrets = environment_secrets if secret is None else lambda _: secret
    schema = open_connector(kind.model_validate(source), table_name=name, secrets=secrets).schema()
    return list(schema.only_table.column_names)


def _found_csv(source: dict[str, object]) -> dict[str, object]:
    from hazy_pipeline.connectors.sniff import csv_options

    found = csv_options(FilesSource.model_validate(source))
    return {"csv": found} if found else {}


def _known(file: Path) -> dict[str, Any]:
    """What the YAML says, where it is there already; raises ConfigurationError where it is wrong."""
    if not file.exists():
        return {}
    load_config(file)
    known: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return known


def _known_csv(file: Path, source: dict[str, object]) -> dict[str, object]:
    """How the file is written, as the owner of its YAML has said."""
    known = _known(file).get("source", {})
    return {"csv": known["csv"]} if _is_same_place(known, source) and "csv" in known else {}


def _is_same_place(known: Any, source: dict[str, object]) -> bool:
    """Both read from the same place, however (columns, CSV options) they do it."""
    places = ("connector", "path", "url", "connection", "schema", "table")
    return isinstance(known, dict) and all(known.get(place) == source.get(place) for place in places)


def _name(data: str) -> str:
    stem = Path(urlsplit(data).path if "://" in data else data).name.split(".")[0]
    plain = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")
    return plain if plain[:1].isalpha() else f"data_{plain}".rstrip("_")


def _absolute_sqlite(url: str) -> str:
    head, path = url.split("://", 1)
    if not head.lower().startswith("sqlite") or path.startswith("//") or len(path) < 2:
        return url
    return f"{head}:///{Path(path[1:]).resolve()}"


def _keep_connection(name: str, url: str, generator: Path) -> None:
    """Keep the URL for the connection; raises ConfigurationError where a Generator reads another database through it."""
    file = settings.connections_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if generator.exists() and name in kept and shown(kept[name]) != shown(url):
        raise ConfigurationError(_EXISTS.format(generator))
    partial = file.with_suffix(".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as handle:
        json.dump({**kept, name: url}, handle, indent=1)
    partial.replace(file)


def _text(name: str, source: dict[str, object], target: str | None) -> str:
    """The YAML, with the settings that people change first spelled out."""
    blocks = [
        {"name": name},
        {"source": source},
        {"use_case": "analysis", **({"target": target} if target else {})},
        {"candidates": list(GeneratorConfig.model_fields["candidates"].get_default(call_default_factory=True))},
        {"tuning": {"trials": 12, "seconds": 120}, "training": {"seconds": 120}},
        {"schedule": "0 3 * * *"},
        {"watch": {"every_seconds": 300}},
        {"output": {"rows": 1000}},
    ]
    return "\n".join(yaml.safe_dump(block, sort_keys=False, allow_unicode=True) for block in blocks)


def _write(file: Path, text: str) -> None:
    if file.exists():
        known, given = _known(file), yaml.safe_load(text)
        if not _is_same_place(known.get("source"), given["source"]):
            raise ConfigurationError(_EXISTS.format(file))
        if known.get("target") == given.get("target"):
            return  # the same Generator: what its owner changed in it since stays
        text = yaml.safe_dump({**known, "target": given.get("target")}, sort_keys=False, allow_unicode=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".yaml.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)
