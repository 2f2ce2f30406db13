"""Whatever the table: a profile, or an error that a user can mend."""

import datetime as dt
from decimal import Decimal

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from hazy_pipeline.config import Columns
from hazy_pipeline.errors import HazyError
from hazy_pipeline.profile import Profile, profile_tables
from hazy_pipeline.profile.drift import drift
from hazy_pipeline.profile.page import profile_page

VALUES = {
    pa.int8(): st.integers(-128, 127), pa.int64(): st.integers(-(2**63), 2**63 - 1), pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float16(): st.sampled_from([0.0, 1.5, -2.0]), pa.float64(): st.floats(), pa.float32(): st.floats(width=32),
    pa.string(): st.text(max_size=12), pa.large_string(): st.sampled_from(["2020-01-01", "2020-02-30", "x", ""]), pa.bool_(): st.booleans(),
    pa.binary(): st.binary(max_size=5), pa.date32(): st.dates(), pa.timestamp("us"): st.datetimes(dt.datetime(1, 1, 2)),
    pa.timestamp("ns", "UTC"): st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC)),
    pa.time64("us"): st.times(), pa.duration("s"): st.timedeltas(dt.timedelta(-9999), dt.timedelta(9999)).map(lambda d: dt.timedelta(days=d.days)),
    pa.decimal128(20, 3): st.integers(-(10**19), 10**19).map(lambda i: Decimal(i) / 1000), pa.null(): st.none(),
}  # fmt: skip
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    n = draw(st.integers(20, 60))
    columns = {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        storage = draw(st.sampled_from(list(VALUES)))
        some = draw(st.lists(st.one_of(st.none(), VALUES[storage]), min_size=1, max_size=n))
        columns[name] = pa.array((some * n)[:n], storage)
    return pa.table(columns)


@given(tables())
def test_a_profile_or_an_error_that_says_what_to_do(tables_of, rows: pa.Table) -> None:
    try:
        profile = profile_tables(tables_of(rows), Columns())
    except HazyError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert "table 'rows'" in refusal
        return
    assert Profile.model_validate_json(profile.model_dump_json()) == profile
    assert set(drift(profile, profile).values()) == {0.0}
    assert profile_page(profile).endswith("</html>")
    assert [column.name for column in profile.columns] == rows.column_names
    for column in profile.columns:
        values = rows[column.name].to_pylist()
        assert column.nulls == sum(v is None or v != v for v in values)
        assert all(category.rows >= 5 for category in column.top)
