"""`Profile`: what is stored about a table. No value, and no statistic, of fewer than `MIN_ROWS` rows stands in it."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from hazy_pipeline.schema import DatasetSchema, Kind

MIN_ROWS = 5
TOP = 250  # categories listed per column


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


class Issue(_Frozen):
    """Something a person should know; `column` is None where it concerns the table."""

    severity: Severity
    rule: str  # a short name for machines, such as "many_nulls"
    column: str | None
    message: str
    remedy: str


class Histogram(_Frozen):
    """Rows per bin `[(first + i) * 2**exponent, (first + i + 1) * 2**exponent)`.

    The grid is the same for every table, so that two histograms compare exactly, and its edges tell nothing about any
    row. Rows outside lie `below` or `above`; those in bins of fewer than `MIN_ROWS` rows are only counted, `scattered`.
    """

    exponent: int
    first: int
    rows: tuple[int, ...]
    below: int
    above: int
    scattered: int

    @property
    def width(self) -> float:
        return float(2.0**self.exponent)

    @property
    def edges(self) -> tuple[float, ...]:
        return tuple((self.first + i) * self.width for i in range(len(self.rows) + 1))

    @property
    def total(self) -> int:
        return sum(self.rows) + self.below + self.above + self.scattered


class TopCategory(_Frozen):
    value: str
    rows: int


class Lengths(_Frozen):
    """Lengths of texts in characters, and their words; `low` and `high` as protected as a column's minimum."""

    low: float
    mean: float
    high: float
    words: float


class ColumnProfile(_Frozen):
    """One column. Numbers are in the source's unit; instants in seconds and days in days since 1970, times in seconds
    since midnight. `minimum`, `maximum` and `quantiles` are averages over rows that lie near, with at least `MIN_ROWS`
    rows beyond."""

    name: str
    kind: Kind
    storage: str
    reason: str  # why it is of this kind, in words
    datetime_format: str | None = None
    n_rows: int
    nulls: int
    distinct: int
    distinct_is_exact: bool = True
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    standard_deviation: float | None = None
    quantiles: dict[str, float] = {}
    histogram: Histogram | None = None
    top: tuple[TopCategory, ...] = ()  # most frequent first; discrete and constant columns only
    lengths: Lengths | None = None

    @property
    def null_share(self) -> float:
        return self.nulls / self.n_rows


class FunctionalDependency(_Frozen):
    """Every value of `determinant` goes with one value of `dependent`, in every row."""

    determinant: str
    dependent: str


class Profile(_Frozen):
    """One table's profile; JSON by pydantic's `model_dump_json` and `model_validate_json`."""

    dataset: DatasetSchema
    n_rows: int
    target: str | None
    columns: tuple[ColumnProfile, ...]
    primary_key: tuple[str, ...]  # declared, configured, or found; only the first two stand in the schema
    primary_key_is_declared: bool
    duplicate_rows: int  # rows that repeat an earlier one
    duplicate_rows_are_exact: bool = True
    functional_dependencies: tuple[FunctionalDependency, ...]
    issues: tuple[Issue, ...]  # errors first

    @property
    def schema(self) -> DatasetSchema:  # type: ignore[override]  # pydantic's own of this name is deprecated
        """The source's schema, each column with its kind; with the primary key where one is declared or configured."""
        return self.dataset

    def column(self, name: str) -> ColumnProfile:
        """The column of that name; raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)
