"""`GeneratorConfig`: one YAML file, checked. Light: Airflow imports it whenever it parses the DAG files."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote_plus, urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from hazy_pipeline.errors import ConfigurationError
from hazy_pipeline.run_store import digest
from hazy_pipeline.schema import Kind
from hazy_pipeline.search_spaces import SPACES, Parameter, SearchSpace, Tuning, UseCase, search_space

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_SECRET_IN_QUERY = re.compile(r"(?i)(password|passwd|pwd|secret|token|signature)\w*\s*=\s*(?!\$\{\w+\})[^&;\s]")


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
        parts = urlsplit(url)
    except ValueError as error:
        raise ValueError(f"not a URL: {error}") from None
    literal = bool(parts.password) and not re.fullmatch(r"\$\{\w+\}", parts.password or "")
    if literal or _SECRET_IN_QUERY.search(unquote_plus(parts.query)):
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


class Training(_Section):
    """The final training of the winner."""

    seconds: int = Field(3_600, ge=5, le=60 * 86_400, description="A training by epochs ends then and keeps its best")


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
    training: Training = Training()
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
    def _within_bounds(cls, candidates: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if not candidates:
            raise ValueError(f"name at least one of {', '.join(SPACES)}")
        wrong = [_unknown(name) for name in candidates if name not in SPACES]
        use_case = info.data.get("use_case", UseCase.ANALYSIS)  # absent where it is itself wrong
        for name in filter(SPACES.__contains__, candidates):
            try:
                search_space(name, use_case, candidates[name])
            except ValidationError as error:
                wrong += [
                    InitErrorDetails(
                        type=item["type"], loc=(name, *item["loc"]), input=item["input"], ctx=item.get("ctx", {})
                    )
                    for item in error.errors()
                ]
        if wrong:
            raise ValidationError.from_exception_data("candidates", wrong)
        return candidates

    @field_validator("schedule")
    @classmethod
    def _cron(cls, cron: str | None) -> str | None:
        if cron is not None:
            from croniter import croniter

            if not (croniter.is_valid(cron) or cron in ("@hourly", "@daily", "@weekly", "@monthly", "@yearly")):
                raise ValueError(f"{cron!r} is not a cron expression; for example '0 3 * * *' is daily at three")
        return cron

    @field_validator("target")
    @classmethod
    def _learned(cls, target: str | None, info: ValidationInfo) -> str | None:
        if target and "source" in info.data:
            columns = info.data["source"].columns
            if target in columns.exclude or (columns.include is not None and target not in columns.include):
                raise ValueError(f"{target!r} is not among the columns that are learned; see source.columns")
        return target

    @model_validator(mode="after")
    def _output_is_not_the_source(self) -> Self:
        """Synthetic rows must never take the place of the real ones."""
        source, output = self.source, self.output
        if isinstance(source, FilesSource):
            same = output.to is not None and output.to == source.path
        else:
            place = (output.to, output.connection)
            same = place == (source.url, source.connection) and (output.table or self.name) == source.table
        if same:
            raise ValueError("output: it names the source itself, whose rows it would replace; name another place")
        return self

    def search_spaces(self) -> dict[str, SearchSpace]:
        """The space of every candidate, preset and bounds applied."""
        return {name: search_space(name, self.use_case, bounds) for name, bounds in self.candidates.items()}

    @property
    def digest(self) -> str:
        """Changes when anything does that the trained model depends on."""
        inputs = self.model_dump(
            mode="json",
            include={"source", "use_case", "target", "candidates", "tuning", "training", "split", "privacy", "seed"},
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
        _refuse_odd_keys(node)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}:1: not valid YAML: {error}") from None
    if not isinstance(values, dict):
        found = "an empty file" if values is None else f"a {type(values).__name__}"
        raise ConfigurationError(f"{path}:1: expected `name: ...` and `source: ...`, found {found}")
    try:
        return GeneratorConfig.model_validate(values)
    except ValidationError as error:
        lines = [f"{path}:{_line(node, location)}: {words}" for location, words in _in_words(error)]
        raise ConfigurationError("\n".join(lines)) from None


def override(config: GeneratorConfig, *, seconds: int | None = None, trials: int | None = None, seed: int | None = None,
             memory: str | None = None, workers: int | None = None, candidates: Sequence[str] | None = None,
             bounds: Mapping[str, Mapping[str, Any]] | None = None) -> GeneratorConfig:  # fmt: skip
    """The configuration with what a person asked for at a run; raises ConfigurationError like the file would.

    `bounds`: candidate -> parameter -> a value, a list or a range, over what the file says.
    """
    values = config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    asked = {"seconds": seconds, "trials": trials, "memory": memory, "workers": workers}
    tuning = values.setdefault("tuning", {})
    tuning.update({k: v for k, v in asked.items() if v is not None})
    if seed is not None:
        values["seed"] = seed
    if candidates:
        unknown = set(candidates) - set(config.candidates)
        if unknown:
            raise ConfigurationError(
                f"candidate {sorted(unknown)[0]!r} is not configured for {config.name}; it has {', '.join(config.candidates)}"
            )
        values["candidates"] = {name: config.candidates[name] for name in candidates}
    if bounds:
        given = values.setdefault("candidates", dict(config.candidates))
        for name, parameters in bounds.items():
            if name not in given:
                raise ConfigurationError(f"bounds: {name!r} is not a candidate of this run; it has {', '.join(given)}")
            given[name] = {**(given.get(name) or {}), **parameters}
    try:
        return GeneratorConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError("\n".join(words for _, words in _in_words(error))) from None


def _unknown(candidate: str) -> InitErrorDetails:
    rule = f"unknown candidate {candidate!r}; known are {', '.join(SPACES)}"
    return InitErrorDetails(type=PydanticCustomError("unknown", "{rule}", {"rule": rule}), loc=(candidate,), input=None)


_RULES = {  # pydantic's error type -> the rule in our words; others keep pydantic's sentence
    "missing": "required, but missing; add it",
    "union_tag_not_found": "say which kind it is: `connector: files` or `connector: sql`",
    "union_tag_invalid": "`connector` must be `files` or `sql`",
    "model_type": "must be a mapping: indented `setting: value` lines; leave the key out to keep the defaults",
    "model_attributes_type": "must be a mapping: indented `setting: value` lines",
    "dict_type": "must be a mapping: indented `setting: value` lines",
    "tuple_type": "must be a list, such as [a, b]",
}


def _in_words(error: ValidationError) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Each error's location in the file, and a sentence with place, rule, value and remedy; one sentence per place."""
    seen = set()
    for item in error.errors():
        location = item["loc"]
        if location[:1] == ("source",):
            location = (*location[:1], *location[2:])  # the connector's name: pydantic's, not the file's
        if location[:1] == ("candidates",) and location[-1] in ("int", "float", "str", "bool"):
            location = location[:-1]  # a member of a union of types
        if location in seen:
            continue
        seen.add(location)
        where = ".".join(str(step) for step in location)
        if item["type"] == "extra_forbidden":
            yield location, f"{where}: no such setting; {_suggestion(str(location[-1]))}"
        else:
            rule = _RULES.get(item["type"], item["msg"].removeprefix("Value error, ").replace("Input should", "must"))
            yield location, ": ".join(filter(None, (where, rule + _shown(item))))


def _shown(item: Any) -> str:
    """The value as it stands in the file, unless the rule names it already or it may hold credentials."""
    value = item["input"]
    if item["type"] in ("value_error", "unknown", "missing") or not isinstance(value, str | int | float):
        return ""
    return "" if isinstance(value, str) and ("://" in value or "@" in value) else f" (got {value!r})"


def _suggestion(setting: str) -> str:
    sections: list[type[BaseModel]] = [GeneratorConfig, Parameter, Tuning, *SPACES.values(), *_Section.__subclasses__()]
    sections += _Source.__subclasses__()
    known = {field.alias or name for section in sections for name, field in section.model_fields.items()}
    if setting in known:
        return "it belongs elsewhere; check the indentation"
    near = difflib.get_close_matches(setting, known, n=1)
    return f"did you mean `{near[0]}`?" if near else "check the spelling and the indentation"


def _refuse_odd_keys(node: yaml.Node | None) -> None:
    """Keys that stand twice (YAML would silently keep the last one) or are no plain text."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be plain text", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
            _refuse_odd_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_odd_keys(value)


def _line(node: yaml.Node | None, location: Sequence[int | str]) -> int:
    """The line (from 1) of the deepest part of `location` that stands in the file."""
    line = 1
    for step in location:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(step)]
            if not found:
                continue  # a discriminator, or a key that is missing
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode):
            found_items = [item for index, item in enumerate(node.value) if step in (index, item.value)]
            if found_items:
                node = found_items[0]
                line = node.start_mark.line + 1
    return line
