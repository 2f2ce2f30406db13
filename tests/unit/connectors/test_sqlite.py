"""SQLite as a source: types that nobody enforces, views, keys, watermarks, and files that are none."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from hazy_pipeline.config import SqlSource
from hazy_pipeline.connectors import Connector, open_connector
from hazy_pipeline.errors import ConfigurationError, DataError, SourceChangedError, SourceError
from hazy_pipeline.schema import ForeignKey
from hazy_pipeline.tables import Tables

Extract = Callable[..., Tables]


class Bank:
    """A SQLite file for a test to fill and read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path, self.count = folder, folder / "bank.db", 0

    def run(self, statement: str, rows: Sequence[Sequence[Any]] = ((),)) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.executemany(statement, rows)

    def script(self, statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.executescript(statements)

    def connector(self, table: str = "t", **settings: Any) -> Connector:
        source = SqlSource(connector="sql", url=f"sqlite:///{self.path}", table=table, **settings)
        return open_connector(source, table_name=table)

    def extract(self, connector: Connector, until: str | None = None) -> Tables:
        self.count += 1
        return connector.extract(UPath(self.folder / f"tables-{self.count}"), until=until or connector.watermark())

    def column(self, declared: str, *values: Any) -> tuple[str, list[Any]]:
        """The storage type and the values of a column of that declaration."""
        self.script("DROP TABLE IF EXISTS one")
        self.script(f"CREATE TABLE one (x {declared})")
        self.run("INSERT INTO one VALUES (?)", [(value,) for value in values])
        tables = self.extract(self.connector("one"))
        return tables.schema.only_table.column("x").storage, tables.read("one")["x"].to_pylist()


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


@pytest.mark.parametrize(("declared", "values", "storage", "meant"), [
    ("INTEGER", [1, None, 2**62], "int64", [1, None, 2**62]),
    ("INTEGER", [1, 2.5], "double", [1.0, 2.5]),  # widened, as a CSV column would be
    ("INTEGER", [1, "two", 3.5], "string", ["1", "two", "3.5"]),
    ("REAL", [1, 2], "double", [1.0, 2.0]),
    ("BOOLEAN", [0, 1, None], "bool", [False, True, None]),
    ("BOOLEAN", [0, 2], "int64", [0, 2]),
    ("NUMERIC(10, 2)", [0.99, 13.86, None, 5, -0.1], "decimal128(10, 2)",
     [Decimal("0.99"), Decimal("13.86"), None, Decimal("5.00"), Decimal("-0.10")]),
    ("NUMERIC(10, 2)", [1, 2**26], "decimal128(10, 2)", [Decimal(1), Decimal(2**26)]),
    ("NUMERIC(10, 2)", [0.999], "double", [0.999]),  # more decimals than declared
    ("NUMERIC(4, 2)", [100.5], "double", [100.5]),  # more digits than declared
    ("NUMERIC", [1, 2], "int64", [1, 2]),
    ("TEXT", ["007", "1"], "string", ["007", "1"]),
    ("TEXT", ["1", "2"], "string", ["1", "2"]),  # declared as text, so they are codes
    ("VARCHAR(9)", ["2024-01-01", None], "date32[day]", [date(2024, 1, 1), None]),
    ("TEXT", ["2024-01-01T10:00:00Z"], "timestamp[us, tz=UTC]", [datetime(2024, 1, 1, 10, tzinfo=UTC)]),
    ("TEXT", ["10:00:00"], "string", ["10:00:00"]),
    ("DATE", ["2024-01-01"], "date32[day]", [date(2024, 1, 1)]),
    ("DATE", ["2024-01-01", "1/2/2024"], "string", ["2024-01-01", "1/2/2024"]),
    ("DATETIME", ["2024-01-01", "2024-01-02"], "timestamp[us]", [datetime(2024, 1, 1), datetime(2024, 1, 2)]),
    ("TIMESTAMP", ["2024-01-01 10:00:00.5"], "timestamp[us]", [datetime(2024, 1, 1, 10, 0, 0, 500_000)]),
    ("DATETIME", [1_700_000_000], "int64", [1_700_000_000]),  # seconds or days since when? it is not said
    ("TIME", ["10:00:00"], "time64[us]", [time(10)]),
    ("BLOB", [b"\x00\xff", None], "binary", [b"\x00\xff", None]),
    ("", ["1", "2"], "int64", [1, 2]),  # nothing declared, so everything is inferred
    ("", ["007", "1"], "string", ["007", "1"]),
    ("INTEGER", [None], "int64", [None]),
    ("REAL", [None], "double", [None]),
    ("DECIMAL(8, 3)", [None], "decimal128(8, 3)", [None]),
    ("DATETIME", [None], "timestamp[us]", [None]),
    ("TEXT", [None], "string", [None]),
])  # fmt: skip
def test_what_a_column_holds_decides(
    bank: Bank, declared: str, values: list[Any], storage: str, meant: list[Any]
) -> None:
    assert bank.column(declared, *values) == (storage, meant)


def test_bytes_among_other_values(bank: Bank) -> None:
    with pytest.raises(DataError, match=r"column 'x' mixes bytes with other values; list it in `columns\.exclude`"):
        bank.column("BLOB", b"\x00", "text")


def test_keys_reserved_words_and_many_columns(bank: Bank) -> None:
    bank.script("""
        CREATE TABLE "Group" (a INTEGER, b INTEGER, PRIMARY KEY (a, b));
        CREATE TABLE "order" ("select" INTEGER PRIMARY KEY, "größe 50%" INT NOT NULL, "a:b" INT, ga INT, gb INT,
                              FOREIGN KEY (ga, gb) REFERENCES "Group" (a, b));
        INSERT INTO "order" VALUES (2, 7, 8, NULL, NULL), (1, 5, NULL, NULL, NULL);
    """)
    tables = bank.extract(bank.connector("order"))
    table = tables.schema.only_table
    assert table.primary_key == ("select",)
    assert table.foreign_keys == (ForeignKey(columns=("ga", "gb"), parent="Group", parent_columns=("a", "b")),)
    assert [column.nullable for column in table.columns][:3] == [True, False, True]
    assert tables.read("order").select(["select", "größe 50%", "a:b"]).to_pydict() == {
        "select": [1, 2], "größe 50%": [5, 7], "a:b": [None, 8],
    }  # fmt: skip
    without = bank.extract(bank.connector("order", columns={"exclude": ["select", "ga"]})).schema.only_table
    assert (without.primary_key, without.foreign_keys) == ((), ())

    names = [f"c{i}" for i in range(400)]
    bank.script(f"CREATE TABLE wide ({', '.join(f'{name} INTEGER' for name in names)})")
    bank.run(f"INSERT INTO wide VALUES ({', '.join('?' * 400)})", [range(400)])
    assert bank.extract(bank.connector("wide")).read("wide").to_pylist() == [{name: i for i, name in enumerate(names)}]


def test_a_view_has_the_types_of_what_it_shows(bank: Bank) -> None:
    bank.script("""
        CREATE TABLE t (id INTEGER PRIMARY KEY, day TEXT, price NUMERIC(6, 2), ok BOOLEAN);
        INSERT INTO t VALUES (1, '2024-01-01', 9.95, 1), (2, '2024-01-02', 1, 0);
        CREATE VIEW v AS SELECT id, day, date(day, '+1 day') AS next, price, price * 2 AS twice, ok, id || '' AS code,
                                substr('00' || id, -3) AS padded FROM t;
    """)
    tables = bank.extract(bank.connector("v", watermark_column="day", columns={"primary_key": ["id"]}))
    assert {c.name: c.storage for c in tables.schema.only_table.columns} == {
        "id": "int64", "day": "date32[day]", "next": "date32[day]", "price": "decimal128(6, 2)", "twice": "double",
        "ok": "bool", "code": "int64", "padded": "string",
    }  # fmt: skip
    assert tables.schema.only_table.primary_key == ("id",)


def test_types_are_those_of_the_rows_of_the_watermark(bank: Bank) -> None:
    bank.script("CREATE TABLE t (id INTEGER PRIMARY KEY, x INTEGER); INSERT INTO t VALUES (1, 1)")
    connector = bank.connector()
    until = connector.watermark()
    bank.run("INSERT INTO t VALUES (2, 'text')")
    assert bank.extract(connector, until).schema.only_table.column("x").storage == "int64"
    assert bank.extract(connector).schema.only_table.column("x").storage == "string"


def test_the_same_watermark_gives_the_same_rows(bank: Bank) -> None:
    bank.script("CREATE TABLE t (code TEXT, at TIMESTAMP)")
    bank.run("INSERT INTO t VALUES (?, ?)", [("b", "2024-01-02 00:00:00"), ("a", "2024-01-01 00:00:00")])
    connector = bank.connector(watermark_column="at")
    until = connector.watermark()
    assert json.loads(until) == {"rows": 2, "column": "at", "newest": "2024-01-02 00:00:00"}
    bank.run("INSERT INTO t VALUES ('c', '2024-01-03 00:00:00')")
    assert bank.extract(connector, until).read("t")["code"].to_pylist() == ["a", "b"]
    bank.run("INSERT INTO t VALUES ('late', '2024-01-01 12:00:00')")
    with pytest.raises(SourceChangedError, match=r"table t: there are 3 rows up to the watermark .*, not 2"):
        bank.extract(connector, until)
    with pytest.raises(SourceChangedError, match="is of another column"):
        bank.extract(bank.connector(), until)
    with pytest.raises(SourceError, match="'yesterday' is not a watermark of a table"):
        bank.extract(connector, "yesterday")


def test_the_database_is_only_read(bank: Bank, tmp_path: Path) -> None:
    bank.script("CREATE TABLE t (x INTEGER); INSERT INTO t VALUES (1)")
    bank.path.chmod(0o444)
    before = bank.path.read_bytes()
    bank.extract(bank.connector())
    assert bank.path.read_bytes() == before
    with pytest.raises(SourceError, match=r"none\.db: no such SQLite file"):
        open_connector(
            SqlSource(connector="sql", url=f"sqlite:///{tmp_path}/none.db", table="t"), table_name="t"
        ).schema()
    assert not (tmp_path / "none.db").exists()


def test_what_is_wrong_is_told(bank: Bank, tmp_path: Path) -> None:
    bank.script("CREATE TABLE Customers (id INTEGER, name TEXT); CREATE VIEW seen AS SELECT * FROM Customers")
    with pytest.raises(
        SourceError, match=r"table customer does not exist \(did you mean 'Customers'\?\).*Customers, seen"
    ):
        bank.connector("customer").schema()
    with pytest.raises(
        ConfigurationError, match=r"columns.include: table Customers has no column 'nane' \(did you mean 'name'"
    ):
        bank.connector("Customers", columns={"include": ["nane"]}).schema()
    with pytest.raises(
        ConfigurationError, match=r"watermark_column: table Customers has no column 'ID' \(did you mean 'id'"
    ):
        bank.connector("Customers", watermark_column="ID").watermark()
    with pytest.raises(ConfigurationError, match=r"source\.schema: no schema 'dbo'"):
        bank.connector("Customers", schema="dbo").watermark()
    with pytest.raises(DataError, match="table Customers: no rows"):
        bank.extract(bank.connector("Customers"))
    (tmp_path / "text.db").write_text("this is no database, though it is long enough to be one " * 20)
    with pytest.raises(SourceError, match="no SQLite database, or is damaged"):
        open_connector(
            SqlSource(connector="sql", url=f"sqlite:///{tmp_path}/text.db", table="t"), table_name="t"
        ).schema()
    with pytest.raises(ConfigurationError, match="a SQLite URL needs a file"):
        open_connector(SqlSource(connector="sql", url="sqlite://", table="t"), table_name="t").schema()


def test_chinook(shared: Path, bank: Bank) -> None:
    bank.path = shared / "data" / "sql" / "chinook.sqlite"
    tables = bank.extract(bank.connector("Track"))
    table = tables.schema.only_table
    assert tables.n_rows("Track") == 3503
    assert table.primary_key == ("TrackId",)
    assert {key.parent for key in table.foreign_keys} == {"Album", "MediaType", "Genre"}
    assert table.column("UnitPrice").storage == "decimal128(10, 2)"
    assert set(tables.read("Track")["UnitPrice"].to_pylist()) == {Decimal("0.99"), Decimal("1.99")}
    playlist = bank.connector("PlaylistTrack").schema().only_table
    assert playlist.primary_key == ("PlaylistId", "TrackId")
    assert bank.connector("Invoice").schema().only_table.column("InvoiceDate").storage == "timestamp[us]"
    assert bank.connector("Employee").schema().only_table.foreign_keys[0].parent == "Employee"
