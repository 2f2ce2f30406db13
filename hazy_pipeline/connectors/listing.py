"""Which files a source consists of, and the short text that stands for them as a watermark."""

import hashlib
import re
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO
from urllib.parse import urlsplit, urlunsplit

import fsspec

from hazy_pipeline.errors import ConfigurationError, SourceChangedError, SourceError

CSV_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")
_STAMPS = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")
_TAGS = ("ETag", "etag", "md5Hash", "content_md5", "checksum")
_WATERMARK = re.compile(r"(?P<count>\d+) files?, newest (?P<newest>[^,]+), (?P<digest>[0-9a-f]{16})")


@dataclass(frozen=True)
class File:
    """One source file as its file system lists it."""

    fs: Any = field(repr=False)
    path: str
    size: int | None
    modified: datetime | None
    tag: str

    @property
    def shown(self) -> str:
        """Its name for people: no user, password or query of a URL."""
        return shown(self.path if _is_local(self.fs) else str(self.fs.unstrip_protocol(self.path)))

    def open(self) -> BinaryIO:
        """For reading bytes; raises SourceError."""
        try:
            return self.fs.open(self.path, "rb")  # type: ignore[no-any-return]
        except store_errors() as error:
            raise SourceError(f"{self.shown}: cannot be opened: {reason(error)}") from None


def shown(location: str) -> str:
    """A path or URL for people: without user, password, query and fragment."""
    if "://" not in location:
        return location
    parts = urlsplit(location)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def list_files(path: str, options: dict[str, Any], *, kind: str) -> list[File]:
    """The files that a path, a glob or a folder (not its subfolders) means, by name.

    `kind` is `auto`, `csv` or `parquet` and decides which files of a folder count. Raises SourceError.
    """
    try:
        fs, root = fsspec.core.url_to_fs(path, **options)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"{shown(path)}: no such kind of location: {error}") from None
    fs.invalidate_cache()  # a sensor that polls must not see yesterday's listing
    try:
        entries = _entries(fs, root, path, kind)
    except store_errors() as error:
        raise SourceError(f"{shown(path)}: cannot be listed: {reason(error)}") from None
    return [_file(fs, entry) for entry in sorted(entries, key=lambda entry: str(entry["name"]))]


def _entries(fs: Any, root: str, path: str, kind: str) -> list[dict[str, Any]]:
    if not fs.exists(root):
        if not any(sign in path for sign in "*?["):
            raise SourceError(f"{shown(path)}: no such file or folder; check `source.path`")
        found = [entry for entry in fs.glob(root, detail=True).values() if entry["type"] == "file"]
        if not found:
            raise SourceError(f"{shown(path)}: no file matches this pattern; check `source.path`")
        return found
    info = fs.info(root)
    if info["type"] != "directory":
        return [info]
    suffixes = {"csv": CSV_SUFFIXES, "parquet": PARQUET_SUFFIXES}.get(kind, CSV_SUFFIXES + PARQUET_SUFFIXES)
    names = [entry for entry in fs.ls(root, detail=True) if entry["type"] == "file"]
    found = [entry for entry in names if _file_name(entry).lower().endswith(suffixes)
             and not _file_name(entry).startswith((".", "_"))]  # fmt: skip
    if not found:
        raise SourceError(f"{shown(path)}: the folder holds no {'/'.join(suffixes)} file; for subfolders give a glob")
    return found


def _file_name(entry: dict[str, Any]) -> str:
    return str(entry["name"]).rstrip("/").rpartition("/")[2]


def _file(fs: Any, entry: dict[str, Any]) -> File:
    stamp = next((entry[key] for key in _STAMPS if entry.get(key) is not None), None)
    tag = next((str(entry[key]) for key in _TAGS if entry.get(key) is not None), "")
    return File(fs, str(entry["name"]), entry.get("size"), _time(stamp), tag)


def _time(stamp: Any) -> datetime | None:
    if isinstance(stamp, int | float):
        return datetime.fromtimestamp(stamp, UTC)
    if isinstance(stamp, str):
        try:
            stamp = datetime.fromisoformat(stamp)
        except ValueError:
            return None
    if isinstance(stamp, datetime):
        return stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
    return None


def watermark(files: list[File]) -> str:
    """Number of files, the newest one's time, and a digest of all names, sizes and times."""
    times = [file.modified for file in files if file.modified]
    newest = max(times).isoformat() if times else "unknown"
    told = [(file.path, file.size, file.modified.isoformat() if file.modified else None, file.tag) for file in files]
    digest = hashlib.sha256(repr(told).encode()).hexdigest()[:16]
    return f"{len(files)} file{'s' if len(files) > 1 else ''}, newest {newest}, {digest}"


def files_until(files: list[File], until: str, place: str) -> list[File]:
    """Exactly the files that `until` spoke of, newer ones left out; SourceChangedError where they are no longer so."""
    parts = _WATERMARK.fullmatch(until)
    if parts is None:
        raise SourceError(f"{place}: {until!r} is not a watermark of files; read a new one")
    limit = _time(parts["newest"])
    kept = [file for file in files if limit is None or file.modified is None or file.modified <= limit]
    if not kept or watermark(kept) != until:
        raise SourceChangedError(
            f"{place}: the files are no longer those of the watermark ({until}): one was changed, replaced or removed; "
            "start again with a new watermark"
        )
    return kept


def _is_local(fs: Any) -> bool:
    protocol = fs.protocol
    return "file" in ((protocol,) if isinstance(protocol, str) else protocol)


def store_errors() -> tuple[type[Exception], ...]:
    """What file systems raise: OSError, and botocore's own errors, which are none, once an S3 file system is loaded."""
    botocore = sys.modules.get("botocore.exceptions")
    return (OSError, botocore.BotoCoreError) if botocore else (OSError,)


def reason(error: Exception) -> str:
    """The cause in a few words; the rest of such a message may hold a URL with its secrets."""
    return getattr(error, "strerror", None) or type(error).__name__
