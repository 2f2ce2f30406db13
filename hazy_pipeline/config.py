"""`GeneratorConfig`: one YAML file, checked. Light: Airflow imports it whenever it parses the DAG files."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hazy_pipeline.errors import ConfigurationError
from hazy_pipeline.run_store import digest
from hazy_pipeline.schema import Kind
from hazy_pipeline.search_spaces import SPACES, SearchSpace, UseCase, search_space

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Columns(_Section):
    """Which columns are learned, and what they are where the profile's guess is not wanted."""

    include: tuple[str, ...] | None = Field(None, description="Only these columns; default: all")
    exclude: tuple[str, ...] = Field((), description="All but these columns")
    types: dict[str, Kind] = Field({}, description="Column name -> kind, overriding the profile")
    datetime_formats: dict[str, str] = Field({}, description="Column name -> strptime format of dates kept as text")
    primary_key: tuple[str, ...] | None = Field(None, description="Where the source does not declare one")


class _Source(_Section):
    columns: Columns = Columns()


def _without_password(url: str) -> str:
    """Refuse a literal password in a URL; `${NAME}` placeholders are filled from the environment when connecting."""
    try:
        password = urlsplit(url).password
    except ValueError as error:
        raise ValueError(f"not a URL: {error}") from None
    if password and not re.fullmatch(r"\$\{\w+\}", password):
        raise ValueError(
            "a password stands in the URL; write ${NAME} and set that environment variable, or use `connection`"
        )
    return url


class CsvOptions(_Section):
    delimiter: str = Field(",", min_length=1, max_length=1)
    quote: str = Field('"', min_length=1, max_length=1)
    encoding: str = "utf-8"
    null_values: tuple[str, ...] = Field(
        ("", "NA", "N/A", "NULL", "null", "NaN", "nan"), description="Texts that mean null"
    )


class FilesSource(_Source):
    """CSV, CSV.gz or Parquet files: one path, a glob, or a folder; local or any fsspec URL."""

    connector: Literal["files"]
    path: str = Field(min_length=1)
    format: Literal["auto", "csv", "parquet"] = "auto"
    csv: CsvOptions = CsvOptions()
    connection: str | None = Field(None, description="Connection id that holds the storage options (key, secret, ...)")

    _path = field_validator("path")(_without_password)


class SqlSource(_Source):
    """A table or view of a database that SQLAlchemy reaches."""

    connector: Literal["sql"]
    url: str | None = Field(None, description="SQLAlchemy URL without a password; ${NAME} comes from the environment")
    connection: str | None = Field(
        None, description="Airflow connection id, or HAZY_CONNECTION_<ID> in the environment"
    )
    schema_name: str | None = Field(None, alias="schema")
    table: str = Field(min_length=1)
    watermark_column: str | None = Field(None, description="A column that only grows, such as the time of insertion")

    _url = field_validator("url")(lambda url: _without_password(url) if url else url)

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.url is None) == (self.connection is None):
            raise ValueError("give either url or connection")
        return self


Source = Annotated[FilesSource | SqlSource, Field(discriminator="connector")]


class Tuning(_Section):
    """The budget of one search over all candidates."""

    trials: int = Field(18, ge=1, le=100_000, description="Trials in all, shared by the candidates")
    seconds: int = Field(600, ge=5, le=60 * 86_400, description="Wall-clock for the whole search")
    workers: int = Field(1, ge=1, le=64, description="Parallel workers per candidate")
    max_rows: int = Field(50_000, ge=100, description="A trial is fitted on a sample of at most this many rows")


class Watch(_Section):
    """The new-data sensor."""

    enabled: bool = True
    every_seconds: int = Field(300, ge=1, le=86_400)


class Promotion(_Section):
    """When a new version becomes the champion."""

    tolerance: float = Field(0.01, ge=0, le=1, description="How much lower than the champion's a score may be")
    minimum_score: float = Field(0.0, ge=0, le=1, description="No version with a lower score is promoted")
    minimum_privacy: float = Field(0.5, ge=0, le=1, description="No version with a lower privacy score is promoted")


class Privacy(_Section):
    min_rows: int = Field(5, ge=1, le=10_000, description="No value or statistic carried by fewer rows is stored")
    text: Literal["placeholder", "null", "words"] = Field("placeholder", description="What stands for free text")


class Split(_Section):
    holdout: float = Field(0.1, gt=0, lt=0.5)
    validation: float = Field(0.1, gt=0, lt=0.5)


class Output(_Section):
    """Synthetic rows drawn from the champion at the end of each run."""

    rows: int = Field(1_000, ge=0, le=10**12)
    to: str | None = Field(None, description="File path, fsspec URL or database URL; default: the run's folder")
    connection: str | None = None
    table: str | None = Field(None, description="Where `to` or `connection` is a database: the table to write")

    _to = field_validator("to")(lambda to: _without_password(to) if to else to)


class Retention(_Section):
    runs: int = Field(10, ge=1, description="Run folders kept; the champion's is always kept")


def _all_candidates() -> dict[str, dict[str, Any] | None]:
    return dict.fromkeys(SPACES)


class GeneratorConfig(_Section):
    """A Generator: what a user configures, sees and samples."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Generator")

    name: str = Field(description="Lower-case letters, digits and underscores")
    description: str = ""
    source: Source
    use_case: UseCase = UseCase.ANALYSIS
    target: str | None = Field(None, description="The column that models trained on the data would predict")
    candidates: dict[str, dict[str, Any] | None] = Field(
        default_factory=_all_candidates,
        description="Which families may be tried, each with bounds for its parameters",
    )
    tuning: Tuning = Tuning()
    schedule: str | None = Field("0 3 * * *", description="Cron; null retrains on new data or by hand only")
    watch: Watch = Watch()
    split: Split = Split()
    privacy: Privacy = Privacy()
    promotion: Promotion = Promotion()
    output: Output = Output()
    retention: Retention = Retention()
    seed: int = Field(0, ge=0, lt=2**32)

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a Generator name; use lower-case letters, digits and _, a letter first")
        return name

    @field_validator("candidates", mode="before")
    @classmethod
    def _as_mapping(cls, given: Any) -> Any:
        return dict.fromkeys(given) if isinstance(given, list | tuple) else given

    @field_validator("candidates")
    @classmethod
    def _known(cls, candidates: dict[str, Any]) -> dict[str, Any]:
        unknown = set(candidates) - set(SPACES)
        if unknown:
            raise ValueError(f"unknown candidate {sorted(unknown)[0]!r}; known are {', '.join(SPACES)}")
        if not candidates:
            raise ValueError(f"name at least one of {', '.join(SPACES)}")
        return candidates

    @field_validator("schedule")
    @classmethod
    def _cron(cls, cron: str | None) -> str | None:
        if cron is not None:
            from croniter import croniter

            if not (croniter.is_valid(cron) or cron in ("@hourly", "@daily", "@weekly", "@monthly", "@yearly")):
                raise ValueError(f"{cron!r} is not a cron expression; for example '0 3 * * *' is daily at three")
        return cron

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        self.search_spaces()
        excluded = self.target in self.source.columns.exclude
        included = self.source.columns.include
        if self.target and (excluded or (included is not None and self.target not in included)):
            raise ValueError(f"target {self.target!r} is not among the columns that are learned")
        return self

    def search_spaces(self) -> dict[str, SearchSpace]:
        """The space of every candidate, preset and bounds applied."""
        spaces = {}
        for name, bounds in self.candidates.items():
            try:
                spaces[name] = search_space(name, self.use_case, bounds)
            except ValidationError as error:
                raise ValueError("; ".join(_in_words(("candidates", name), item) for item in error.errors())) from None
        return spaces

    @property
    def digest(self) -> str:
        """Changes when anything does that the trained model depends on."""
        inputs = self.model_dump(
            mode="json", include={"source", "use_case", "target", "candidates", "tuning", "split", "privacy", "seed"}
        )
        return digest(inputs)


def load_config(path: Path | str) -> GeneratorConfig:
    """Read and check one YAML file; raises ConfigurationError with file, line, value, rule and remedy."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such file; `hazy init DATA` writes a Generator's YAML") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_duplicate_keys(node)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path}: expected a mapping with `name` and `source`, got {type(values).__name__}")
    try:
        return GeneratorConfig.model_validate(values)
    except ValidationError as error:
        lines = [f"{path}:{_line(node, item['loc'])}: {_in_words((), item)}" for item in error.errors()]
        raise ConfigurationError("\n".join(lines)) from None


def override(config: GeneratorConfig, *, seconds: int | None = None, trials: int | None = None, seed: int | None = None,
             candidates: Sequence[str] | None = None) -> GeneratorConfig:  # fmt: skip
    """The configuration with what a person asked for at a run; raises ConfigurationError like the file would."""
    values = config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    tuning = values.setdefault("tuning", {})
    tuning.update({k: v for k, v in (("seconds", seconds), ("trials", trials)) if v is not None})
    if seed is not None:
        values["seed"] = seed
    if candidates:
        unknown = set(candidates) - set(config.candidates)
        if unknown:
            raise ConfigurationError(
                f"candidate {sorted(unknown)[0]!r} is not configured for {config.name}; it has {', '.join(config.candidates)}"
            )
        values["candidates"] = {name: config.candidates[name] for name in candidates}
    try:
        return GeneratorConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_in_words((), item) for item in error.errors())) from None


def _in_words(prefix: tuple[str, ...], item: Any) -> str:
    where = ".".join(str(step) for step in (*prefix, *item["loc"]) if step not in ("files", "sql"))
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "no such setting; check the spelling"
    shown = item.get("input")
    value = f" (got {shown!r})" if isinstance(shown, str | int | float) and item["type"] != "value_error" else ""
    return f"{where}: {message}{value}" if where else f"{message}{value}"


def _refuse_duplicate_keys(node: yaml.Node | None) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: the key {key.value!r} stands twice")
            seen.add(key.value)
            _refuse_duplicate_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_duplicate_keys(value)


def _line(node: yaml.Node | None, location: Sequence[int | str]) -> int:
    """The line (from 1) of the deepest part of `location` that stands in the file."""
    line = 1
    for step in location:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(step)]
            if not found:
                continue  # a discriminator, or a key that is missing
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line
