"""Conditions as text."""

from datetime import date

import pytest

from hazy_pipeline.errors import ConfigurationError
from hazy_pipeline.generate.where import parse_where
from hazy_pipeline.schema import Column, TableSchema

KINDS = {
    "age": "int64",
    "sex": "string",
    "sex=at birth": "string",
    "paid": "double",
    "since": "date32[day]",
    "active": "bool",
}
TABLE = TableSchema(name="t", columns=tuple(Column(name=name, storage=kind) for name, kind in KINDS.items()))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("age=30", {"age": 30}),
        ("age>=30,age <= 40", {"age": {"min": 30, "max": 40}}),
        (" sex = Female , paid<=1.5", {"sex": "Female", "paid": {"max": 1.5}}),
        ("sex=Female|Male|null", {"sex": ["Female", "Male", None]}),
        ('sex="null"|"a, b|c ""d"""', {"sex": ["null", 'a, b|c "d"']}),
        ("sex=at birth=x", {"sex=at birth": "x"}),
        ("since>=2024-02-29,active=true", {"since": {"min": date(2024, 2, 29)}, "active": True}),
        ("paid=null", {"paid": None}),
    ],
)
def test_conditions_are_read_with_their_columns_types(text, where):
    assert parse_where(text, TABLE) == where


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("height=3", "columns are age, sex"), ("age", "begin with a column"), ("age>30", ">="), ("age=", "age="),
        ("age=many", "int64"), ("age=30,age=31", "twice"), ("age>=1,age>=2", "twice"), ("age=3,,sex=x", "cannot be read"),
        ('sex="a', "cannot be read"), ("since=tomorrow", "date32"), ("age=3,age>=2", "twice"), ("", "cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_an_error_that_names_it(text, message):
    with pytest.raises(ConfigurationError, match=message):
        parse_where(text, TABLE)
