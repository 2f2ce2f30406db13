"""The demo source: a small bank in SQLite that grows by a day at a time.

Every day is drawn by a generator seeded with the bank's seed and the date, from the customers who are there by then:
a bank created with one day more is the same as a bank to which that day was added.
"""

import os
import sqlite3
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from tempfile import mkstemp
from typing import Any

import numpy as np

from hazy_pipeline.errors import SourceError

FIRST_DAY = date(2025, 9, 1)
DAYS = 75
_FIRST_CUSTOMERS = 600

_SCHEMA = """
CREATE TABLE simulation (seed INTEGER NOT NULL);
CREATE TABLE customers (
    customer_id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, birth_date DATE NOT NULL,
    occupation TEXT NOT NULL, income INTEGER, city TEXT NOT NULL, region TEXT NOT NULL, joined_on DATE NOT NULL
);
CREATE TABLE accounts (
    account_id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (customer_id),
    kind TEXT NOT NULL, opened_on DATE NOT NULL, credit_limit INTEGER
);
CREATE TABLE transactions (
    transaction_id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES accounts (account_id),
    booked_at TIMESTAMP NOT NULL, category TEXT NOT NULL, channel TEXT NOT NULL, merchant_country TEXT,
    amount NUMERIC(10, 2) NOT NULL, is_flagged BOOLEAN NOT NULL
);
CREATE INDEX transactions_by_time ON transactions (booked_at);
CREATE VIEW activity AS
    SELECT transaction_id, booked_at, email, birth_date, occupation, income, city, region, kind AS account_kind,
           opened_on, credit_limit, category, channel, merchant_country, amount, is_flagged
    FROM transactions JOIN accounts USING (account_id) JOIN customers USING (customer_id);
"""

_FIRST_NAMES = ("Anna", "Ben", "Clara", "David", "Elif", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Katja", "Luca",
                "Mira", "Noah", "Olga", "Paul", "Rosa", "Simon", "Tara", "Viktor")  # fmt: skip
_LAST_NAMES = ("Auer", "Berger", "Celik", "Dorn", "Egger", "Fuchs", "Gruber", "Huber", "Ivanov", "Jung", "Kaya",
               "Lang", "Maier", "Novak", "Ortner", "Pichler", "Reiter", "Steiner", "Toth", "Wagner")  # fmt: skip

# city: region, share of the customers, how dear its flats are
_CITIES = {
    "Vienna": ("East", 0.34, 1.25), "Graz": ("South", 0.13, 1.0), "Linz": ("North", 0.12, 1.0),
    "Salzburg": ("West", 0.10, 1.3), "Innsbruck": ("West", 0.09, 1.35), "Klagenfurt": ("South", 0.07, 0.85),
    "Wels": ("North", 0.05, 0.85), "Steyr": ("North", 0.04, 0.8), "Krems": ("East", 0.03, 0.9),
    "Villach": ("South", 0.02, 0.85), "Eisenstadt": ("East", 0.006, 0.9), "Bludenz": ("West", 0.004, 1.1),
}  # fmt: skip

# occupation: share, youngest, oldest, median yearly income, its log deviation, share without a known income
_OCCUPATIONS = {
    "employee": (0.46, 20, 64, 38_000, 0.35, 0.03), "public service": (0.15, 22, 64, 42_000, 0.25, 0.02),
    "self-employed": (0.10, 24, 68, 47_000, 0.7, 0.25), "student": (0.12, 18, 28, 9_000, 0.4, 0.55),
    "retired": (0.14, 60, 88, 24_000, 0.35, 0.05), "unemployed": (0.027, 20, 62, 12_000, 0.3, 0.6),
    "farmer": (0.003, 30, 66, 31_000, 0.5, 0.2),
}  # fmt: skip

_KINDS = ("checking", "credit", "savings")
_KIND_ACTIVITY = np.array([1.0, 0.7, 0.12])

# category: weight by account kind, channels with weights, hour of the day and its spread, median amount, log deviation
_CATEGORIES: dict[str, tuple[tuple[float, float, float], dict[str, float], float, float, float, float]] = {
    "groceries": ((24, 18, 0), {"card": 0.8, "mobile": 0.2}, 16.5, 3.0, -32, 0.6),
    "restaurants": ((9, 17, 0), {"card": 0.75, "mobile": 0.25}, 19.5, 2.2, -28, 0.5),
    "transport": ((9, 7, 0), {"mobile": 0.6, "card": 0.4}, 8.5, 3.5, -4, 0.7),
    "online shopping": ((8, 22, 0), {"online": 0.85, "mobile": 0.15}, 20.5, 3.5, -47, 0.9),
    "cash": ((8, 1, 2), {"atm": 1.0}, 13.0, 4.0, -60, 0.6),
    "rent": ((3, 0, 0), {"transfer": 1.0}, 6.0, 0.5, -690, 0.3),
    "salary": ((3, 0, 0), {"transfer": 1.0}, 5.0, 0.5, 2_400, 0.2),
    "utilities": ((5, 0, 0), {"transfer": 0.9, "online": 0.1}, 7.0, 1.0, -85, 0.4),
    "transfer": ((6, 0, 60), {"online": 0.6, "mobile": 0.4}, 12.0, 5.0, -150, 1.1),
    "travel": ((1.5, 8, 0), {"online": 0.8, "card": 0.2}, 18.0, 5.0, -240, 0.9),
    "fees": ((2, 3, 4), {"transfer": 1.0}, 3.0, 0.3, -2.5, 0.0),
    "gambling": ((0.8, 2.0, 0), {"online": 1.0}, 23.0, 3.0, -55, 1.0),
    "jewellery": ((0.15, 0.5, 0), {"card": 0.9, "online": 0.1}, 15.0, 2.0, -900, 0.8),
}
_NAMES = tuple(_CATEGORIES)
_WEIGHTS = np.array([entry[0] for entry in _CATEGORIES.values()])
_AT_HOME = ("rent", "salary", "utilities", "transfer", "fees", "cash")  # no merchant, so no country of one
_COUNTRIES = ("AT", "DE", "IT", "US", "CN", "GB", "HR", "TR", "BR", "NZ")
_COUNTRY_SHARES = {
    "travel": (0.22, 0.2, 0.2, 0.06, 0.02, 0.08, 0.13, 0.07, 0.01, 0.01),
    "online shopping": (0.5, 0.28, 0.02, 0.08, 0.08, 0.03, 0.005, 0.003, 0.001, 0.001),
    "gambling": (0.3, 0.05, 0.05, 0.1, 0.05, 0.43, 0.005, 0.005, 0.005, 0.005),
}
_MOSTLY_HERE = (0.965, 0.02, 0.008, 0.001, 0.0005, 0.001, 0.003, 0.001, 0.0003, 0.0002)


def create_bank(path: Path, *, days: int = DAYS, seed: int = 0) -> None:
    """Write a bank with that many days of transactions (about 200 each); the same seed, the same rows.

    Raises FileExistsError where there is a file already; a failure leaves none.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} is there already; remove it to create the demo bank anew")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        with closing(_open(name)) as bank, bank:
            bank.executescript(_SCHEMA)
            bank.execute("INSERT INTO simulation VALUES (?)", (seed,))
            _add_customers(bank, np.random.default_rng([seed, 0]), FIRST_DAY, _FIRST_CUSTOMERS)
            for day in range(days):
                _write_day(bank, seed, FIRST_DAY + timedelta(days=day))
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def add_day(path: Path) -> str:
    """Add the day after the newest one, 150 to 300 transactions, all or none; returns the day in ISO form.

    What is added depends on the file's state and seed alone. Raises SourceError where there is no bank.
    """
    if not Path(path).is_file():
        raise SourceError(f"{path}: no demo bank here; `make run` creates it")
    with closing(_open(str(path))) as bank, bank:
        bank.execute("BEGIN IMMEDIATE")  # two callers at once add two days, one after the other
        (seed,) = bank.execute("SELECT seed FROM simulation").fetchone()
        (newest,) = bank.execute("SELECT max(booked_at) FROM transactions").fetchone()
        day = date.fromisoformat(newest[:10]) + timedelta(days=1) if newest else FIRST_DAY
        _write_day(bank, seed, day)
    return day.isoformat()


def _open(name: str) -> sqlite3.Connection:
    bank = sqlite3.connect(name, timeout=30)
    bank.execute("PRAGMA foreign_keys = ON")
    return bank


def _write_day(bank: sqlite3.Connection, seed: int, day: date) -> None:
    rng = np.random.default_rng([seed, day.toordinal()])
    _add_customers(bank, rng, day, int(rng.integers(1, 4)))
    age = (day - FIRST_DAY).days
    weekday = (1.0, 0.98, 1.0, 1.04, 1.15, 1.05, 0.78)[day.weekday()]
    expected = min(165 + 0.7 * age, 250) * weekday * (1.12 if day.day in (1, 2, 25, 26) else 1.0)
    _add_transactions(bank, rng, day, int(np.clip(rng.poisson(expected), 150, 300)))


def _add_customers(bank: sqlite3.Connection, rng: np.random.Generator, day: date, n_rows: int) -> None:
    (last,) = bank.execute("SELECT coalesce(max(customer_id), 0) FROM customers").fetchone()
    ids = np.arange(last + 1, last + 1 + n_rows)
    cities = list(_CITIES)
    city = rng.choice(len(cities), n_rows, p=[share for _, share, _ in _CITIES.values()])
    job = rng.choice(len(_OCCUPATIONS), n_rows, p=[entry[0] for entry in _OCCUPATIONS.values()])
    _, youngest, oldest, median, spread, unknown = (
        np.array(each)[job] for each in zip(*_OCCUPATIONS.values(), strict=True)
    )
    years = youngest + (oldest - youngest) * rng.beta(1.6, 1.8, n_rows)
    seniority = 1 + 0.012 * np.clip(years - 25, 0, 35)
    income = np.round(median * seniority * np.exp(spread * rng.standard_normal(n_rows)), -2).astype(int)
    is_known = rng.random(n_rows) >= unknown
    given, family = (rng.integers(0, len(names), n_rows) for names in (_FIRST_NAMES, _LAST_NAMES))
    joined = _days_before(day, rng.integers(0, 3650, n_rows) if last == 0 else np.zeros(n_rows, int))
    born = _days_before(day, (years * 365.25).astype(int))
    regions = [_CITIES[name][0] for name in cities]
    rows = [
        (int(i), f"{_FIRST_NAMES[g]} {_LAST_NAMES[f]}", f"{_FIRST_NAMES[g]}.{_LAST_NAMES[f]}{i}@example.org".lower(), b,
         list(_OCCUPATIONS)[j], int(w) if known else None, cities[c], regions[c], since)
        for i, g, f, b, j, w, known, c, since in zip(ids, given, family, born, job, income, is_known, city, joined, strict=True)
    ]  # fmt: skip
    bank.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    _add_accounts(bank, rng, ids, income, joined)


def _add_accounts(bank: sqlite3.Connection, rng: np.random.Generator, customers: np.ndarray, income: np.ndarray,
                  joined: list[str]) -> None:  # fmt: skip
    (last,) = bank.execute("SELECT coalesce(max(account_id), 0) FROM accounts").fetchone()
    wealth = np.log(np.maximum(income, 1_000) / 30_000)
    has_credit = rng.random(len(customers)) < 1 / (1 + np.exp(0.6 - 1.2 * wealth))
    has_savings = rng.random(len(customers)) < 1 / (1 + np.exp(0.3 - 0.8 * wealth))
    limits = np.array([1_000, 2_000, 5_000, 10_000])
    limit = limits[np.clip(np.round(1.2 + 1.1 * wealth + 0.5 * rng.standard_normal(len(customers))), 0, 3).astype(int)]
    rows: list[tuple[Any, ...]] = []
    for kind, held in zip(_KINDS, (np.full(len(customers), True), has_credit, has_savings), strict=True):
        for i in np.flatnonzero(held):
            bound = int(limit[i]) if kind == "credit" else None
            rows.append((last + len(rows) + 1, int(customers[i]), kind, joined[i], bound))
    bank.executemany("INSERT INTO accounts VALUES (?, ?, ?, ?, ?)", rows)


def _days_before(day: date, n_days: np.ndarray) -> list[str]:
    return np.datetime_as_string(np.datetime64(day) - n_days.astype("timedelta64[D]")).tolist()  # type: ignore[no-any-return]


def _add_transactions(bank: sqlite3.Connection, rng: np.random.Generator, day: date, n_rows: int) -> None:
    (last,) = bank.execute("SELECT coalesce(max(transaction_id), 0) FROM transactions").fetchone()
    ids, kinds, incomes, births, dearness = _accounts(bank)
    activity = _KIND_ACTIVITY[kinds] * (0.5 + np.nan_to_num(incomes, nan=15_000) / 40_000)
    chosen = rng.choice(len(ids), n_rows, p=activity / activity.sum())
    kind, income, age = kinds[chosen], np.nan_to_num(incomes[chosen], nan=15_000), day.year - births[chosen]
    category = _draw(rng, _category_weights(day)[:, kind].T * _age_effect(age))
    seconds = _seconds(rng, category)
    amount = _amounts(rng, category, income, dearness[chosen])
    channel, country = _channels(rng, category), _countries(rng, category)
    risk = (
        -4.6 + 2.2 * (seconds < 6 * 3600) * ~np.isin(category, [_NAMES.index(c) for c in _AT_HOME])
        + 1.6 * (country > 0) + 1.4 * (country > 2) + 0.8 * (channel == "online")
        + 1.1 * np.log1p(np.abs(amount) / (income / 100)) * (amount < 0) * (category != _NAMES.index("rent"))
        + 1.5 * np.isin(category, [_NAMES.index("gambling"), _NAMES.index("jewellery")]) + 0.5 * (age > 70)
    )  # fmt: skip
    is_flagged = rng.random(n_rows) < 1 / (1 + np.exp(-risk))
    order = np.argsort(seconds, kind="stable")
    moments = np.datetime64(day, "s") + seconds[order].astype("timedelta64[s]")
    countries = np.array([*_COUNTRIES, None], dtype=object)
    columns = (
        range(last + 1, last + 1 + n_rows), ids[chosen][order].tolist(),
        [moment.replace("T", " ") for moment in np.datetime_as_string(moments).tolist()],
        np.array(_NAMES)[category][order].tolist(), channel[order].tolist(), countries[country][order].tolist(),
        amount[order].tolist(), is_flagged[order].astype(int).tolist(),
    )  # fmt: skip
    bank.executemany("INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", zip(*columns, strict=True))


def _accounts(bank: sqlite3.Connection) -> tuple[np.ndarray, ...]:
    """Every account's id, kind (its index), income (NaN where unknown), year of birth and the dearness of its city."""
    rows = bank.execute(
        "SELECT account_id, kind, income, birth_date, city FROM accounts JOIN customers USING (customer_id) ORDER BY 1"
    ).fetchall()
    ids, kinds, incomes, births, cities = zip(*rows, strict=True)
    return (np.array(ids), np.array([_KINDS.index(kind) for kind in kinds]), np.array(incomes, dtype=float),
            np.array([int(born[:4]) for born in births]), np.array([_CITIES[city][2] for city in cities]))  # fmt: skip


def _category_weights(day: date) -> np.ndarray:
    """(categories, account kinds): rent at the start of a month, salaries towards its end, restaurants at weekends."""
    effects = {"rent": 9.0 if day.day <= 3 else 0.05, "salary": 9.0 if 25 <= day.day <= 27 else 0.1,
               "fees": 4.0 if day.day >= 29 else 0.7, "restaurants": 1.7 if day.weekday() >= 4 else 0.9,
               "transport": 0.4 if day.weekday() >= 5 else 1.2, "groceries": 0.2 if day.weekday() == 6 else 1.1}  # fmt: skip
    factors: np.ndarray = np.array([effects.get(name, 1.0) for name in _NAMES])
    weights: np.ndarray = _WEIGHTS * factors[:, None]
    return weights


def _age_effect(age: np.ndarray) -> np.ndarray:
    """(rows, categories): the young ride and shop online, the old draw cash and earn no salary."""
    effect = np.ones((len(age), len(_NAMES)))
    youth = np.clip((45 - age) / 25, -1, 1)
    for name, strength in (("online shopping", 0.8), ("transport", 0.7), ("restaurants", 0.4), ("cash", -0.9),
                           ("gambling", 0.6), ("utilities", -0.4)):  # fmt: skip
        effect[:, _NAMES.index(name)] = np.exp(strength * youth)
    effect[age >= 65, _NAMES.index("salary")] = 0.05
    return effect


def _draw(rng: np.random.Generator, weights: np.ndarray) -> np.ndarray:
    """One column index per row of weights."""
    cumulated = np.cumsum(weights, axis=1)
    index: np.ndarray = (rng.random(len(weights))[:, None] * cumulated[:, -1:] > cumulated).sum(axis=1)
    return index


def _seconds(rng: np.random.Generator, category: np.ndarray) -> np.ndarray:
    hour, spread = (np.array([entry[i] for entry in _CATEGORIES.values()])[category] for i in (2, 3))
    return (((hour + spread * rng.standard_normal(len(category))) % 24) * 3600).astype(int) % 86_400  # type: ignore[no-any-return]


def _amounts(rng: np.random.Generator, category: np.ndarray, income: np.ndarray, dearness: np.ndarray) -> np.ndarray:
    """Skewed, in cents; cash in tens, rents by city, salaries a fourteenth of the income, fees always the same."""
    median, spread = (np.array([entry[i] for entry in _CATEGORIES.values()])[category] for i in (4, 5))
    wealth = np.where(np.isin(category, [_NAMES.index("fees"), _NAMES.index("transport")]), 1, (income / 30_000) ** 0.4)
    amount = median * wealth * np.exp(spread * rng.standard_normal(len(category)))
    is_cash = category == _NAMES.index("cash")
    amount[is_cash] = np.minimum(np.round(amount[is_cash], -1), -10)
    is_rent = category == _NAMES.index("rent")
    amount[is_rent] *= dearness[is_rent]
    is_salary = category == _NAMES.index("salary")
    amount[is_salary] = income[is_salary] / 14
    return np.round(np.clip(amount, -9_999, 20_000), 2)  # type: ignore[no-any-return]


def _channels(rng: np.random.Generator, category: np.ndarray) -> np.ndarray:
    names = ("card", "mobile", "online", "atm", "transfer")
    shares = np.array([[entry[1].get(name, 0.0) for name in names] for entry in _CATEGORIES.values()])
    return np.array(names)[_draw(rng, shares[category])]  # type: ignore[no-any-return]


def _countries(rng: np.random.Generator, category: np.ndarray) -> np.ndarray:
    """Index into `_COUNTRIES`; -1, the null that stands after them, where there is no merchant."""
    shares = np.array([_COUNTRY_SHARES.get(name, _MOSTLY_HERE) for name in _NAMES])
    country = _draw(rng, shares[category])
    country[np.isin(category, [_NAMES.index(name) for name in _AT_HOME])] = -1
    return country
