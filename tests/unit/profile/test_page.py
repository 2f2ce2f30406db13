"""The page: whole in itself, harmless whatever names the data have, and what it should say is there."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd

from hazy_pipeline.config import Columns
from hazy_pipeline.profile import profile_tables
from hazy_pipeline.profile.model import Histogram
from hazy_pipeline.profile.page import chart, percent, profile_page

EVIL = "<script>alert('x')</script>"


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "rect", "br", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def rows(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    town = rng.integers(0, 12, n)
    return pd.DataFrame({
        EVIL: rng.normal(size=n),
        "town": [f"{EVIL}{i}" for i in town],
        "region": [f"r{i % 3}" for i in town],
        "when": pd.Timestamp("2020-05-01") + pd.to_timedelta(rng.integers(0, 10**6, n), unit="s"),
        "time": [f"{i % 24:02d}:15" for i in range(n)],
        "day": pd.date_range("2020-05-01", periods=n, freq="D").strftime("%Y-%m-%d"),
        "blank": rng.choice([" ", "a"], n),
        "note": [f"a long note about case {i}" for i in range(n)],
        "id": range(n),
        "gone": [None] * (n - 30) + [1.5, 2.5, 3.25] * 10,
        "k": ["one"] * n,
    })  # fmt: skip


def test_the_page_says_what_was_found(tables_of) -> None:
    page = read(profile_page(profile_tables(tables_of(rows(), name=EVIL), Columns(), target="region")))
    for expected in ("300", "identifier", "90% of the rows have no value", "2020-05-0", "%H:%M", "tells the target 'region'", "(blank)",
                     "all rows have the same value", "id", "(found)"):  # fmt: skip
        assert expected in re.sub(r"\s+", " ", page.text), expected
    assert [tag for tag, _ in page.tags].count("article") == 11
    assert page.text.index("Issues") < page.text.index("Dependencies") < page.text.index("Columns")


def test_names_and_values_cannot_do_harm(tables_of) -> None:
    text = profile_page(profile_tables(tables_of(rows(), name=EVIL), Columns(), target="town"))
    assert EVIL not in text
    page = read(text)
    assert EVIL in page.text  # shown, as text
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "img")]


def test_the_page_fetches_nothing(tables_of) -> None:
    text = profile_page(profile_tables(tables_of(rows()), Columns()))
    assert not re.search(r"https?:|url\(|@import|\ssrc=|\shref=", text)


def test_a_table_without_issues_says_so(tables_of) -> None:
    frame = pd.DataFrame({"a": np.random.default_rng(0).normal(size=300), "b": ["u", "v", "w"] * 100})
    assert "Nothing to report." in profile_page(profile_tables(tables_of(frame), Columns()))


def test_shares_are_never_rounded_to_none_or_all() -> None:
    assert [percent(share) for share in (0, 0.00001, 0.1234, 0.99999, 1)] == [
        "0 %",
        "< 0.1 %",
        "12.3 %",
        "> 99.9 %",
        "100 %",
    ]


def test_a_chart_has_a_bar_for_every_bin_that_has_rows() -> None:
    drawn = chart(Histogram(exponent=0, first=0, rows=(10, 0, 5), below=0, above=5, scattered=3))
    bars = re.findall(r'class="(\w+)" x="([\d.]+)".*?height="([\d.]+)"', drawn)
    assert bars == [("bar", "64.00", "72.00"), ("bar", "192.00", "36.00"), ("beyond", "256.00", "36.00")]
