"""The demo bank: reproducible, growing, and with structure worth learning."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hazy_pipeline.config import load_config
from hazy_pipeline.connectors import open_connector
from hazy_pipeline.demo import DAYS, FIRST_DAY, add_day, create_bank
from hazy_pipeline.errors import SourceError


def activity(bank: Path) -> pd.DataFrame:
    with closing(sqlite3.connect(bank)) as connection:
        return pd.read_sql("SELECT * FROM activity", connection)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "bank.db"
    create_bank(path)
    return path


@pytest.fixture(scope="module")
def rows(bank: Path) -> Iterator[pd.DataFrame]:
    return activity(bank)


def test_an_added_day_is_the_day_that_a_longer_bank_has(tmp_path: Path) -> None:
    create_bank(tmp_path / "short.db", days=5, seed=7)
    create_bank(tmp_path / "long.db", days=7, seed=7)

    added = [add_day(tmp_path / "short.db"), add_day(tmp_path / "short.db")]

    assert added == [(FIRST_DAY + timedelta(days=n)).isoformat() for n in (5, 6)]
    pd.testing.assert_frame_equal(activity(tmp_path / "short.db"), activity(tmp_path / "long.db"))


def test_another_seed_is_another_bank(tmp_path: Path) -> None:
    for seed in (0, 1):
        create_bank(tmp_path / f"{seed}.db", days=2, seed=seed)
    assert not activity(tmp_path / "0.db").equals(activity(tmp_path / "1.db"))


def test_the_size_at_creation_and_by_day(rows: pd.DataFrame) -> None:
    by_day = rows.groupby(rows.booked_at.str[:10]).size()
    assert 12_000 <= len(rows) <= 20_000
    assert len(by_day) == DAYS
    assert by_day.between(150, 300).all()
    assert by_day.iloc[-14:].mean() > 1.1 * by_day.iloc[:14].mean()  # it grows


def test_days_keep_their_size_when_the_bank_grows_old(tmp_path: Path) -> None:
    create_bank(tmp_path / "old.db", days=160)
    rows = activity(tmp_path / "old.db")
    assert rows.groupby(rows.booked_at.str[:10]).size().between(150, 300).all()


def test_keys_hold(bank: Path) -> None:
    with closing(sqlite3.connect(bank)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        for table, key in (
            ("customers", "customer_id"),
            ("accounts", "account_id"),
            ("transactions", "transaction_id"),
        ):
            (is_key,) = connection.execute(
                "SELECT pk FROM pragma_table_info(?) WHERE name = ?", (table, key)
            ).fetchone()
            assert is_key == 1


def test_structure(rows: pd.DataFrame) -> None:
    assert (rows.groupby("city").region.nunique() == 1).all()  # a functional dependency
    assert rows.transaction_id.is_monotonic_increasing
    assert rows.booked_at.is_monotonic_increasing
    assert (rows.credit_limit.isna() == (rows.account_kind != "credit")).all()
    assert 0.02 < rows.income.isna().mean() < 0.2
    assert 0.03 < rows.is_flagged.mean() < 0.12
    assert rows.merchant_country.value_counts().iloc[-1] < 25  # rare categories
    assert (rows.amount == -2.5).sum() > 200  # a spike
    assert rows.amount.skew() > 2
    day = pd.to_datetime(rows.booked_at).dt
    assert set(rows.category[day.day == 1]) >= {"rent"}
    assert (rows.category[day.day.between(25, 27)] == "salary").mean() > 5 * (
        rows.category[day.day == 10] == "salary"
    ).mean()
    assert rows.groupby(day.dayofweek).size().idxmin() == 6
    known = rows.dropna(subset=["income", "credit_limit"])
    assert np.corrcoef(np.log(known.income), np.log(known.credit_limit))[0, 1] > 0.4


def test_the_target_can_be_predicted_but_not_perfectly(rows: pd.DataFrame) -> None:
    from lightgbm import LGBMClassifier
    from sklearn.metrics import roc_auc_score

    features = rows[["category", "channel", "merchant_country", "amount", "income"]].copy()
    features["hour"] = rows.booked_at.str[11:13].astype(int)
    for name in ("category", "channel", "merchant_country"):
        features[name] = features[name].astype("category")
    is_even = np.arange(len(rows)) % 2 == 0
    model = LGBMClassifier(n_estimators=40, verbose=-1, n_jobs=1).fit(features[is_even], rows.is_flagged[is_even])
    auc = roc_auc_score(rows.is_flagged[~is_even], model.predict_proba(features[~is_even])[:, 1])
    assert 0.75 < auc < 0.95


def test_a_bank_is_not_written_over_nor_half_written(tmp_path: Path) -> None:
    create_bank(tmp_path / "bank.db", days=1)
    with pytest.raises(FileExistsError, match="is there already"):
        create_bank(tmp_path / "bank.db", days=1)
    with pytest.raises(OverflowError):
        create_bank(tmp_path / "new.db", days=1, seed=2**70)  # fits no column of SQLite
    assert [file.name for file in tmp_path.glob("*.db*")] == ["bank.db"]
    assert [file.name for file in tmp_path.glob(".*")] == []


def test_adding_a_day_to_no_bank(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.db: no demo bank"):
        add_day(tmp_path / "none.db")


def test_the_demo_generator_reads_the_demo_bank(home: Path, repository: Path) -> None:
    create_bank(home / "demo" / "bank.db", days=3)
    config = load_config(repository / "dags" / "generators" / "bank_activity.yaml")
    connector = open_connector(config.source, table_name="activity")

    before = connector.watermark()
    table = connector.schema().only_table
    storages = {column.name: column.storage for column in table.columns}
    add_day(home / "demo" / "bank.db")

    assert connector.watermark() != before
    assert table.primary_key == ("transaction_id",)
    assert config.target in storages
    assert storages == {
        "transaction_id": "int64", "booked_at": "timestamp[us]", "email": "string", "birth_date": "date32[day]",
        "occupation": "string", "income": "int64", "city": "string", "region": "string", "account_kind": "string",
        "opened_on": "date32[day]", "credit_limit": "int64", "category": "string", "channel": "string",
        "merchant_country": "string", "amount": "decimal128(10, 2)", "is_flagged": "bool",
    }  # fmt: skip
