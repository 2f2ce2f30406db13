"""The report: whole, self-contained, without scripts, and without a value that few rows carry."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hazy_pipeline.evaluate import evaluate, real_limit
from hazy_pipeline.evaluate.distributions import MIN_ROWS, distributions
from hazy_pipeline.evaluate.report import describe, figures, report_page
from hazy_pipeline.evaluate.result import Evaluation
from hazy_pipeline.evaluate.rows import read_rows
from hazy_pipeline.schema import Column, Kind, TableSchema

LEADERBOARD = [
    {"candidate": "bayesian_network", "score": 0.91, "trials": 8, "seconds": 12.34, "hyperparameters": {"n_bins": 64}},
    {"candidate": "gan", "score": None, "trials": 2, "hyperparameters": None},
]


class Wellformed(HTMLParser):
    """Every element that is opened is closed, in order."""

    EMPTY = ("meta", "br", "link")

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], set(), []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text.append(data)


def parse(page):
    parser = Wellformed()
    parser.feed(page)
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def judged(made, described):
    """Keyword arguments of a report on the made-up table, with a key, a text and hostile names in it."""
    tables = []
    for seed in (1, 2, 3):
        frame = made(400, seed)
        frame["<b>&'\"$x_1$"] = np.where(np.arange(400) < 390, "<script>alert(1)</script>", "$ & co")
        frame["key"] = [f"SECRETKEY{seed}-{i}" for i in range(400)]
        frame["words"] = [f"SECRETWORDS {seed} {i}" for i in range(400)]
        frame.loc[[7, 8, 9], "region"] = "SECRETPLACE"
        frame.loc[11, "income"] = 987654321.25
        tables.append(frame)
    kinds = {"key": Kind.IDENTIFIER, "words": Kind.TEXT}
    (synthetic, schema), (train, _), (reference, _) = (described(frame, **kinds) for frame in tables)
    return {
        "evaluation": evaluate(synthetic, train, reference, schema, target="owner"),
        "limit": real_limit(train, reference, schema, target="owner"),
        "table": schema, "synthetic": synthetic, "reference": reference,
    }  # fmt: skip


def page_of(judged, **changes):
    given = {"title": "bank <customers>", "facts": {"Run": "manual__<1>", "Seed": "7"}, "leaderboard": LEADERBOARD,
             "winner": LEADERBOARD[0], "reasons": ["It <won>."], "verdict": []}  # fmt: skip
    return report_page(**judged, **(given | changes))


def test_the_page_is_whole_and_stands_alone(judged):
    page = page_of(judged)
    parser = parse(page)
    assert {"svg", "table", "style", "dl"} <= parser.tags
    assert not {"script", "link", "img", "iframe"} & parser.tags
    assert not re.search(r"(?:src|href)=|url\(|@import", page)
    assert "prefers-color-scheme: dark" in page


def test_the_page_tells_scores_leaderboard_reasons_and_facts(judged):
    text = " ".join(parse(page_of(judged)).text)
    for metric in judged["evaluation"].metrics:
        assert f"{metric.value:.3f}" in text
        assert f"real {judged['limit'][metric.name].value:.3f}" in text
    for words in ("bank <customers>", "bayesian network", "0.9100", "12.3", "n_bins", "GAN", "It <won>.", "manual__<1>",
                  "Privacy: passed.", "key (identifier)", "words (text)"):  # fmt: skip
        assert words in text


def test_a_failed_verdict_stands_out(judged):
    text = " ".join(parse(page_of(judged, verdict=["half of the rows are copies"])).text)
    assert "must not be used" in text
    assert "Half of the rows are copies." in text
    assert "Privacy: passed." not in text


def test_no_value_of_a_few_rows_a_key_or_a_text_is_shown(judged):
    page = page_of(judged)
    for secret in ("SECRETKEY", "SECRETWORDS", "SECRETPLACE", "987654321", "987,654,321", "987.7M"):
        assert secret not in page


def test_names_and_values_cannot_break_out(judged):
    page = page_of(judged)
    assert "<script>alert" not in page
    assert "<b>&'" not in page
    assert "bank &lt;customers&gt;" in page


def test_bars_stand_for_enough_rows(judged):
    rows = read_rows(judged["synthetic"], judged["reference"], judged["reference"], judged["table"])
    found = distributions(rows, judged["synthetic"], judged["reference"], judged["table"])
    assert [d.name for d in found] == [c.name for c in judged["table"].columns if c.name not in ("key", "words")]
    for distribution in found:
        for bar in (*distribution.bars, distribution.spike, distribution.null):
            for share in (bar.real, bar.synthetic) if bar else ():
                assert share is None or share == 0 or round(share * 400) >= MIN_ROWS
    savings = next(d for d in found if d.name == "savings")
    assert savings.spike.label == "0"
    assert savings.spike.real == pytest.approx(0.6, abs=0.1)
    children = next(d for d in found if d.name == "children")
    assert children.null.real == pytest.approx(0.1, abs=0.05)


def test_shares_of_a_histogram_add_up():
    rows = pa.table({"n": np.random.default_rng(0).normal(size=4_000)})
    table = TableSchema(name="t", columns=(Column(name="n", storage="double", kind=Kind.NUMERIC),))
    (found,) = distributions(read_rows(rows, rows, rows, table), rows, rows, table)
    assert sum(bar.real or 0 for bar in found.bars) == pytest.approx(1, abs=0.01)
    assert found.overlap == 1


@pytest.mark.parametrize(("kind", "values", "ticks"), [
    (Kind.DATE, pd.date_range("2020-01-01", periods=400).date, "2020-01"),
    (Kind.DATETIME, pd.date_range("2020-01-01", periods=400, freq="h"), "2020-01-01 0"),
    (Kind.TIME, pd.date_range("2020-01-01", periods=400, freq="3min").time, "00:"),
    (Kind.INTEGER, np.arange(400) % 5 + 1, "1"),
    (Kind.NUMERIC, np.geomspace(1, 1e6, 400) ** 2, "1"),
])  # fmt: skip
def test_axes_are_written_as_a_person_would(kind, values, ticks):
    rows = pa.table({"n": pa.array(values)})
    table = TableSchema(name="t", columns=(Column(name="n", storage="", kind=kind),))
    (found,) = distributions(read_rows(rows, rows, rows, table), rows, rows, table)
    assert found.ticks[0].startswith(ticks)
    assert len(found.ticks) == 3


def test_tiny_and_empty_handed_reports():
    rows = pa.table({"n": [1.0, 2.0], "c": ["a", "b"], "nothing": pa.array([None, None], pa.string())})
    table = TableSchema(name="t", columns=tuple(Column(name=n, storage="", kind=k) for n, k in (
        ("n", Kind.NUMERIC), ("c", Kind.CATEGORICAL), ("nothing", Kind.CATEGORICAL))))  # fmt: skip
    found = evaluate(rows, rows, rows, table, target=None)
    judged = {"evaluation": found, "limit": found, "table": table, "synthetic": rows, "reference": rows}
    parse(page_of(judged, leaderboard=[], winner={}, reasons=[], facts={}))
    only_key = TableSchema(name="t", columns=(Column(name="c", storage="", kind=Kind.IDENTIFIER),))
    nothing = Evaluation(metrics=())
    judged |= {"table": only_key, "evaluation": nothing, "limit": nothing}
    parse(page_of(judged, leaderboard=[], winner={}))
    assert list(figures(**judged)) == ["scores.png"]


def test_wide_tables_show_what_matters(described):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 101)), columns=[f"column {j}" for j in range(101)])
    frame["column 100"] = frame["column 50"]
    rows, schema = described(frame)
    found = evaluate(rows, rows, rows, schema, target=None, metrics=["marginals", "pairs", "triples"])
    judged = {"evaluation": found, "limit": found, "table": schema, "synthetic": rows, "reference": rows}
    page = page_of(judged)
    parse(page)
    assert "40 of 101 columns" in page
    assert "61 more columns" in page
    assert "column 50 and column 100: 1.00" in page
    assert len(page) < 2_000_000


def test_figures_are_pictures(judged, tmp_path):
    found = figures(**judged)
    assert sorted(found) == ["correlations.png", "distributions.png", "scores.png"]
    for name, figure in found.items():
        figure.savefig(tmp_path / name, format="png")
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_sentences_speak_of_every_group(judged):
    text = " ".join(describe(judged["evaluation"], judged["limit"]))
    for words in ("Single columns agree", "trained classifier", "reach", "trained on synthetic rows", "nearer", "equal",
                  "attacker"):  # fmt: skip
        assert words in text
