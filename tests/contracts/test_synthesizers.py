"""What every synthesizer promises, whatever its method: a new one is one more key of SYNTHESIZERS and nothing else here."""

import json
import random
import re
import subprocess
import sys
import warnings
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather as feather
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upath import UPath

from hazy_pipeline.errors import DataError, ModelError
from hazy_pipeline.schema import Column, DatasetSchema, Kind, TableSchema
from hazy_pipeline.search_spaces import SPACES, UseCase, search_space
from hazy_pipeline.synthesizers import SYNTHESIZERS, synthesizer_class
from hazy_pipeline.synthesizers.base import BLOCK_ROWS, StopFitting, Synthesizer, load_synthesizer
from hazy_pipeline.synthesizers.folder import MODEL_FILE
from hazy_pipeline.tables import Tables, arrow_schema, write_frames

# What makes a fit quick without changing what is promised.
QUICK: dict[str, dict[str, Any]] = {
    "bayesian_network": {"max_parents": 2, "n_bins": 20},
    "gaussian_copula": {"n_quantiles": 100},
    "gan": {"epochs": 2, "batch_size": 60, "width": 16, "depth": 1, "latent_dim": 8, "pac": 2, "n_modes": 3},
}
# A GAN of two epochs has learned the rows' form, not yet their shares.
LEARNS_SHARES = [name for name in SYNTHESIZERS if name != "gan"]

N_ROWS = 900
TEXT_MARKER = "Quixotic Vexillologist Zygmunt"
IDENTIFIER_MARKER = "REF-9f3b77c1"
CATEGORY_MARKER = "Xanthippe-on-Sea"  # a category of one row: under min_rows
VALIDATION_MARKER = "Only-In-Validation"
NUMBER_MARKER = 8_315_642.37
INTEGER_MARKER = 77_310_243

each = pytest.mark.parametrize("name", list(SYNTHESIZERS))

KINDS = {
    "id": Kind.IDENTIFIER, "account": Kind.IDENTIFIER, "reference": Kind.IDENTIFIER, "comment": Kind.TEXT, "constant": Kind.CONSTANT,
    "nothing": Kind.CONSTANT,
}  # fmt: skip


def source_rows(n_rows: int, seed: int) -> pa.Table:
    """Rows of every storage type and kind, with nulls, a spike, a rare category and planted single values."""
    rng = np.random.default_rng(seed)

    def nulls(share: float) -> np.ndarray:
        return rng.random(n_rows) < share

    amount = np.where(rng.random(n_rows) < 0.3, 0.0, np.round(rng.gamma(2.0, 50.0, n_rows), 2))
    amount[0] = NUMBER_MARKER
    age = rng.integers(18, 91, n_rows)
    age[1] = INTEGER_MARKER
    city = np.array(["Wien", "Łódź", "São Paulo", "東京"])[rng.choice(4, n_rows, p=[0.5, 0.3, 0.15, 0.05])]
    city = city.astype(object)
    city[2] = CATEGORY_MARKER
    references = [f"REF-{value:08x}" for value in rng.choice(2**31, n_rows, replace=False)]
    references[3] = IDENTIFIER_MARKER
    comments = [f"called on day {i}, wants the blue one" for i in range(n_rows)]
    comments[4] = TEXT_MARKER
    days = rng.integers(0, 3000, n_rows)
    seconds = rng.integers(0, 86_400, n_rows)
    return pa.table({
        "id": pa.array(np.arange(1, n_rows + 1), pa.int64()),
        "account": pa.array(np.where(np.arange(n_rows) < n_rows // 3, 5_000_000 + np.arange(n_rows) // 2,
                                     6_000_000 + np.arange(n_rows) // 10), pa.int64()),
        "reference": pa.array(references, pa.string()),
        "age": pa.array(age, pa.int32(), mask=nulls(0.1)),
        "amount": pa.array(amount, pa.float64()),
        "ratio": pa.array(rng.normal(size=n_rows), pa.float64(), mask=nulls(0.4)),
        "small": pa.array(rng.random(n_rows).astype(np.float32), pa.float32()),
        "price": pa.array([Decimal(int(cents)) / 100 for cents in rng.integers(100, 99_999, n_rows)], pa.decimal128(10, 2)),
        "city": pa.array(city, pa.string(), mask=nulls(0.2)),
        "grade": pa.array(rng.choice([1, 2, 3, 4, 5], n_rows), pa.int8()),
        "active": pa.array(rng.random(n_rows) < 0.7, pa.bool_(), mask=nulls(0.05)),
        "joined": pa.array([date(2015, 1, 1) + timedelta(days=int(d)) for d in days], pa.date32()),
        "seen": pa.array([datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=int(d) * 999) for d in days],
                         pa.timestamp("us", "UTC")),
        "at": pa.array([time(int(s) // 3600, int(s) // 60 % 60, int(s) % 60) for s in seconds], pa.time64("us")),
        "constant": pa.array(["always"] * n_rows, pa.string()),
        "nothing": pa.array([None] * n_rows, pa.string()),
        "comment": pa.array(comments, pa.string(), mask=nulls(0.1)),
    })  # fmt: skip


def schema_of(rows: pa.Table, kinds: dict[str, Kind]) -> DatasetSchema:
    def kind(field: pa.Field) -> Kind:
        for test, found in (
            (pa.types.is_boolean, Kind.BOOLEAN), (pa.types.is_integer, Kind.INTEGER), (pa.types.is_floating, Kind.NUMERIC),
            (pa.types.is_decimal, Kind.NUMERIC), (pa.types.is_timestamp, Kind.DATETIME), (pa.types.is_date, Kind.DATE),
            (pa.types.is_time, Kind.TIME),
        ):  # fmt: skip
            if test(field.type):
                return found
        return Kind.CATEGORICAL

    columns = tuple(
        Column(name=field.name, storage=str(field.type), kind=kinds.get(field.name) or kind(field))
        for field in rows.schema
    )
    return DatasetSchema(tables=(TableSchema(name="rows", columns=columns),))


def new(name: str, schema: DatasetSchema, **more: Any) -> Synthesizer:
    return synthesizer_class(name)(schema, random_state=1, **{**QUICK[name], **more})


def fit(name: str, train: Tables, validation: Tables, **more: Any) -> Synthesizer:
    return new(name, train.schema, **more).fit(train, validation=validation)


def sampled(synthesizer: Synthesizer, n_rows: int, **how: Any) -> pa.Table:
    return pa.Table.from_batches(list(synthesizer.sample_batches(n_rows, **how)))


class Fitted:
    """One synthesizer fitted on the rows above, what it was fitted on, and its model folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder, self.model = name, folder, folder / "model"
        self.source = source_rows(N_ROWS, seed=0)
        schema = schema_of(self.source, {**KINDS, "grade": Kind.CATEGORICAL})
        validation = source_rows(300, seed=1)
        position = validation.schema.get_field_index("city")
        validation = validation.set_column(position, "city", pa.array([VALIDATION_MARKER] * 300))
        self.train = write_frames(UPath(folder / "train"), schema, {"rows": self.source})
        self.validation = write_frames(UPath(folder / "validation"), schema, {"rows": validation})
        self.synthesizer = fit(name, self.train, self.validation)
        self.synthesizer.save(self.model)
        self.rows = sampled(self.synthesizer, 20_000, random_state=7)


@pytest.fixture(scope="module", params=list(SYNTHESIZERS))
def fitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return Fitted(request.param, tmp_path_factory.mktemp(request.param))


# --- the rows come back in the source's form ---------------------------------------------------------------------


def test_columns_types_and_their_order_come_back_exactly(fitted: Fitted) -> None:
    assert fitted.rows.schema.equals(arrow_schema(fitted.train.schema.only_table), check_metadata=False)
    assert fitted.rows.num_rows == 20_000


def test_nulls_appear_only_where_the_source_has_them_and_in_its_share(fitted: Fitted) -> None:
    shares = {c: fitted.rows[c].null_count / fitted.rows.num_rows for c in fitted.rows.column_names}
    source = {c: fitted.source[c].null_count / N_ROWS for c in fitted.source.column_names}
    assert {c for c, share in source.items() if share == 0} <= {c for c, share in shares.items() if share == 0}
    assert shares["nothing"] == 1
    if fitted.name in LEARNS_SHARES:
        modelled = [c.name for c in fitted.train.schema.only_table.columns if c.kind and c.kind.is_modelled]
        assert {c: shares[c] for c in modelled} == pytest.approx({c: source[c] for c in modelled}, abs=0.03)


def test_categories_are_the_sources(fitted: Fitted) -> None:
    for column in ("city", "grade", "active", "constant"):
        assert set(fitted.rows[column].unique().to_pylist()) <= set(fitted.source[column].unique().to_pylist()), column


def test_a_category_that_too_few_rows_carry_is_never_sampled(fitted: Fitted) -> None:
    assert CATEGORY_MARKER not in fitted.rows["city"].unique().to_pylist()


def test_precision_is_the_sources(fitted: Fitted) -> None:
    cents = fitted.rows["amount"].to_numpy() * 100
    np.testing.assert_allclose(cents, np.round(cents), atol=1e-6)
    seen = pc.cast(fitted.rows["seen"], pa.int64()).to_numpy()
    assert (seen % 1_000_000 == 0).all(), "the source's timestamps are whole seconds"
    at = pc.cast(fitted.rows["at"], pa.int64()).to_numpy()
    assert (at % 1_000_000 == 0).all()


def test_ranges_are_within_the_sources(fitted: Fitted) -> None:
    for column in ("age", "amount", "ratio", "small", "price", "joined", "seen", "at"):
        found, bounds = pc.min_max(fitted.rows[column]).as_py(), pc.min_max(fitted.source[column]).as_py()
        assert bounds["min"] <= found["min"] <= found["max"] <= bounds["max"], column


def test_a_value_beyond_which_too_few_rows_lie_bounds_nothing(fitted: Fitted) -> None:
    assert pc.max(fitted.rows["amount"]).as_py() < NUMBER_MARKER / 1000
    assert pc.max(fitted.rows["age"]).as_py() < INTEGER_MARKER / 1000


def test_a_value_that_stands_out_stands_out_again(fitted: Fitted) -> None:
    if fitted.name not in LEARNS_SHARES:
        return
    zeros = pc.sum(pc.equal(fitted.rows["amount"], 0.0)).as_py() / fitted.rows.num_rows
    assert zeros == pytest.approx(pc.sum(pc.equal(fitted.source["amount"], 0.0)).as_py() / N_ROWS, abs=0.04)


def test_identifiers_are_unique_and_new(fitted: Fitted) -> None:
    rows = sampled(fitted.synthesizer, 100_000, random_state=3)
    for column in ("id", "reference"):
        assert rows[column].null_count == 0
        assert len(rows[column].unique()) == rows.num_rows, column
    repeated = set(rows["reference"].to_pylist()) & set(fitted.source["reference"].to_pylist())
    assert IDENTIFIER_MARKER not in repeated
    assert len(repeated) < 0.01 * N_ROWS, "no more than by chance: new ones follow the pattern, not the source's values"


def test_identifiers_that_repeat_do_so_again_and_go_on_over_blocks(fitted: Fitted) -> None:
    n_rows = BLOCK_ROWS + 24_576  # 90,112: a hundred times the source, nearly
    accounts = sampled(fitted.synthesizer, n_rows, random_state=3)["account"]
    assert accounts.null_count == 0
    rows = np.sort(pc.value_counts(accounts.combine_chunks()).field(1).to_numpy())
    assert (rows == 2).sum() == pytest.approx(n_rows / N_ROWS * 150, rel=0.02)
    assert (rows == 10).sum() == pytest.approx(n_rows / N_ROWS * 60, rel=0.02)
    assert not set(accounts.to_pylist()) & set(fitted.source["account"].to_pylist())
    shard = sampled(fitted.synthesizer, n_rows, random_state=3, shard=(1, 2))["account"]
    assert shard.to_pylist() == accounts.to_pylist()[BLOCK_ROWS:]


def test_free_text_is_not_the_sources(fitted: Fitted) -> None:
    source = set(fitted.source["comment"].drop_null().to_pylist())
    assert not source & set(fitted.rows["comment"].unique().to_pylist())


# --- the same seed, the same rows --------------------------------------------------------------------------------


def test_the_same_seeds_give_the_same_model_and_rows(fitted: Fitted) -> None:
    again = fit(fitted.name, fitted.train, fitted.validation)
    assert sampled(again, 2000, random_state=7).equals(sampled(fitted.synthesizer, 2000, random_state=7))


def test_another_seed_gives_other_rows(fitted: Fitted) -> None:
    rows, others = (sampled(fitted.synthesizer, 2000, random_state=seed) for seed in (7, 8))
    assert not rows.equals(others)


def test_rows_do_not_depend_on_the_size_of_the_batches(fitted: Fitted) -> None:
    n_rows = BLOCK_ROWS + 1000
    whole = sampled(fitted.synthesizer, n_rows, random_state=2)
    batches = list(fitted.synthesizer.sample_batches(n_rows, batch_rows=7777, random_state=2))
    assert max(batch.num_rows for batch in batches) <= 7777
    assert pa.Table.from_batches(batches).equals(whole)


def test_rows_do_not_depend_on_the_number_of_threads_nor_on_their_encoding(fitted: Fitted) -> None:
    n_rows = 3 * BLOCK_ROWS + 11
    whole = sampled(fitted.synthesizer, n_rows, random_state=2)
    assert sampled(fitted.synthesizer, n_rows, random_state=2, workers=3).equals(whole)
    encoded = list(fitted.synthesizer.sample_batches(n_rows, random_state=2, dictionaries=True))
    assert pa.types.is_dictionary(encoded[0]["city"].type), "of few distinct texts"
    assert pa.Table.from_batches(encoded).cast(whole.schema).equals(whole)


def test_rows_of_given_values_are_drawn_without_rejection_or_refused_clearly(fitted: Fitted) -> None:
    where = {"city": ["Wien", None], "age": {"min": 30, "max": 50}, "active": True}
    if type(fitted.synthesizer).conditional is Synthesizer.conditional:
        with pytest.raises(ModelError, match="bayesian_network"):
            sampled(fitted.synthesizer, 10, where=where)
        return
    rows = sampled(fitted.synthesizer, BLOCK_ROWS + 10, random_state=2, where=where)
    assert rows.schema.equals(fitted.rows.schema)
    assert set(rows["city"].unique().to_pylist()) == {"Wien", None}
    assert rows["age"].null_count == 0
    assert pc.min_max(rows["age"]).as_py() == {"min": 30, "max": 50}
    assert rows["active"].unique().to_pylist() == [True]
    assert sampled(fitted.synthesizer, BLOCK_ROWS + 10, random_state=2, where=where, workers=2).equals(rows)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_shards_are_disjoint_parts_of_the_same_whole(fitted: Fitted, count: int) -> None:
    n_rows = 3 * BLOCK_ROWS + 11
    whole = sampled(fitted.synthesizer, n_rows, random_state=2)
    shards = [sampled(fitted.synthesizer, n_rows, random_state=2, shard=(i, count)) for i in range(count)]
    assert pa.concat_tables(shards).equals(whole)


@pytest.mark.parametrize("n_rows", [0, 1, 2, 100_000])
def test_any_number_of_rows(fitted: Fitted, n_rows: int) -> None:
    rows = sampled(fitted.synthesizer, n_rows)
    assert rows.num_rows == n_rows
    assert rows.schema.equals(arrow_schema(fitted.train.schema.only_table), check_metadata=False)


def test_fitting_leaves_nothing_behind_and_global_random_states_alone(
    fitted: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before_files = sorted(tmp_path.rglob("*"))
    before = (random.getstate(), np.random.get_state()[1].tobytes())
    synthesizer = fit(fitted.name, fitted.train, fitted.validation)
    sampled(synthesizer, 10)
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == before
    assert sorted(tmp_path.rglob("*")) == before_files


# --- the model folder --------------------------------------------------------------------------------------------

LOAD = """
import sys
from pathlib import Path
import pyarrow.feather as feather
from hazy_pipeline.synthesizers.base import load_synthesizer
rows = load_synthesizer(Path(sys.argv[1])).sample(3000, random_state=5)["rows"]
feather.write_feather(rows, sys.argv[2], compression="uncompressed")
"""


def test_a_saved_model_gives_the_same_rows_in_a_fresh_process(fitted: Fitted, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", LOAD, fitted.model, tmp_path / "rows"], check=True, cwd=tmp_path)
    assert feather.read_table(tmp_path / "rows").equals(sampled(fitted.synthesizer, 3000, random_state=5))


def contents(folder: Path) -> dict[str, bytes]:
    """What is stored, uncompressed: each file's bytes, and each array of the npz files."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                for key in arrays.files:
                    found[f"{file.name}/{key}"] = arrays[key].tobytes()
        elif file.is_file():
            found[file.name] = file.read_bytes()
    return found


def stored_numbers(folder: Path) -> np.ndarray:
    """Every number in the folder: of JSON, of npz arrays and of safetensors, as float64."""
    from safetensors.numpy import load_file

    found: list[np.ndarray] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for part in value.values():
                walk(part)
        elif isinstance(value, list):
            for part in value:
                walk(part)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append(np.array([value], float))

    for file in folder.rglob("*"):
        if file.suffix == ".json":
            walk(json.loads(file.read_text()))
        elif file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                found += [arrays[k].astype(float).ravel() for k in arrays.files if arrays[k].dtype.kind in "iufb"]
        elif file.suffix == ".safetensors":
            found += [array.astype(float).ravel() for array in load_file(file).values()]
    return np.concatenate(found)


def test_the_folder_holds_json_and_arrays_and_nothing_that_runs(fitted: Fitted) -> None:
    files = [file for file in fitted.model.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".json", ".npz", ".safetensors"}
    for file in files:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                assert not any(arrays[key].dtype.hasobject for key in arrays.files)


@pytest.mark.parametrize("marker", [TEXT_MARKER, IDENTIFIER_MARKER, CATEGORY_MARKER, VALIDATION_MARKER])
def test_no_planted_text_is_stored(fitted: Fitted, marker: str) -> None:
    forms = [marker.encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-32-le")]
    assert not [name for name, data in contents(fitted.model).items() for form in forms if form in data]


def test_no_text_or_identifier_of_any_row_is_stored(fitted: Fitted) -> None:
    whole = b"\0".join(contents(fitted.model).values())
    for column in ("comment", "reference"):
        values = fitted.source[column].drop_null().to_pylist()
        assert not [value for value in values if value.encode() in whole], column


def test_no_planted_number_is_stored(fitted: Fitted) -> None:
    numbers = stored_numbers(fitted.model)
    for marker in (NUMBER_MARKER, INTEGER_MARKER):
        assert not np.isclose(numbers, marker, rtol=1e-6).any()
        assert not np.isclose(numbers, np.log1p(marker), rtol=1e-9).any()


def test_no_single_value_of_a_continuous_column_is_stored(fitted: Fitted) -> None:
    values = fitted.source["ratio"].drop_null().to_numpy()  # each of them unique
    assert not np.isin(values, stored_numbers(fitted.model)).any()
    assert not np.isin(values.astype(np.float32), stored_numbers(fitted.model).astype(np.float32)).any()


def test_parameters_are_stored_unchanged(fitted: Fitted) -> None:
    for synthesizer in (fitted.synthesizer, load_synthesizer(fitted.model)):
        assert synthesizer.hyperparameters == QUICK[fitted.name]
        assert synthesizer.schema == fitted.train.schema
        assert (synthesizer.random_state, synthesizer.min_rows, synthesizer.text) == (1, 5, "placeholder")
        assert type(synthesizer) is synthesizer_class(fitted.name)


def copied(model: Path, to: Path, **changes: Any) -> Path:
    to.mkdir()
    for file in model.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    state = json.loads((to / MODEL_FILE).read_text())
    (to / MODEL_FILE).write_text(json.dumps({**state, **changes}))
    return to


def test_a_newer_format_is_refused(fitted: Fitted, tmp_path: Path) -> None:
    folder = copied(fitted.model, tmp_path / "newer", format_version=fitted.synthesizer.format_version + 1)
    with pytest.raises(ModelError, match="newer"):
        load_synthesizer(folder)


def test_a_folder_of_another_synthesizer_is_refused(fitted: Fitted, tmp_path: Path) -> None:
    other = next(name for name in SYNTHESIZERS if name != fitted.name)
    folder = copied(fitted.model, tmp_path / "other", synthesizer=other)
    with pytest.raises(ModelError, match=other):
        synthesizer_class(fitted.name).load(folder)
    with pytest.raises(ModelError, match="quantum_network"):
        load_synthesizer(copied(fitted.model, tmp_path / "unknown", synthesizer="quantum_network"))


def test_a_damaged_folder_is_refused(fitted: Fitted, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=re.escape(MODEL_FILE)):
        load_synthesizer(tmp_path)
    folder = copied(fitted.model, tmp_path / "cut")
    (folder / MODEL_FILE).write_text('{"synthesizer": ')
    with pytest.raises(ModelError, match="damaged"):
        load_synthesizer(folder)


@pytest.mark.parametrize("pick", [".npz", ".safetensors"])
def test_a_folder_with_a_missing_or_cut_array_file_is_refused(fitted: Fitted, tmp_path: Path, pick: str) -> None:
    for file in fitted.model.glob(f"*{pick}"):
        missing = copied(fitted.model, tmp_path / f"without-{file.name}")
        (missing / file.name).unlink()
        with pytest.raises(ModelError):
            load_synthesizer(missing)
        cut = copied(fitted.model, tmp_path / f"cut-{file.name}")
        (cut / file.name).write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(ModelError):
            load_synthesizer(cut)


def flipped(file: Path, place: int) -> None:
    """One bit of one byte is another, as a failing disk or a bad copy leaves it."""
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def test_a_single_changed_bit_of_any_file_is_noticed(fitted: Fitted, tmp_path: Path) -> None:
    for file in sorted(fitted.model.iterdir()):
        for share in (0.1, 0.5, 0.9):
            folder = copied(fitted.model, tmp_path / f"{file.name}-{share}")
            flipped(folder / file.name, int(share * file.stat().st_size))
            with pytest.raises(ModelError, match=f"{re.escape(str(folder))}.*damaged"):
                load_synthesizer(folder)


def test_a_changed_figure_in_the_description_is_noticed(fitted: Fitted, tmp_path: Path) -> None:
    folder = copied(fitted.model, tmp_path / "changed", random_state=2)
    with pytest.raises(ModelError, match=rf"{re.escape(MODEL_FILE)}: damaged \(its content has changed\)"):
        load_synthesizer(folder)


def test_a_folder_from_before_there_were_digests_is_read(fitted: Fitted, tmp_path: Path) -> None:
    folder = copied(fitted.model, tmp_path / "before")
    model = json.loads((folder / MODEL_FILE).read_text())
    (folder / MODEL_FILE).write_text(json.dumps({k: v for k, v in model.items() if k not in ("files", "digest")}))
    assert load_synthesizer(folder).sample(50)["rows"].equals(load_synthesizer(fitted.model).sample(50)["rows"])


# --- fitting -----------------------------------------------------------------------------------------------------


def test_epochs_are_reported_and_may_end_the_training(fitted: Fitted) -> None:
    losses: list[tuple[int, float]] = []
    new(fitted.name, fitted.train.schema).fit(
        fitted.train, validation=fitted.validation, on_epoch=lambda epoch, loss: losses.append((epoch, loss))
    )
    assert [epoch for epoch, _ in losses] == list(range(int(QUICK[fitted.name].get("epochs", len(losses)))))
    assert np.isfinite([loss for _, loss in losses]).all()

    def stop(epoch: int, loss: float) -> None:
        raise StopFitting

    stopped = new(fitted.name, fitted.train.schema).fit(fitted.train, validation=fitted.validation, on_epoch=stop)
    assert sampled(stopped, 10).num_rows == 10

    class PrunedError(Exception):
        pass

    def prune(epoch: int, loss: float) -> None:
        raise PrunedError

    if losses:
        with pytest.raises(PrunedError):
            new(fitted.name, fitted.train.schema).fit(fitted.train, validation=fitted.validation, on_epoch=prune)


def test_keeping_checkpoints_changes_nothing(fitted: Fitted, tmp_path: Path) -> None:
    kept = new(fitted.name, fitted.train.schema)
    kept.fit(fitted.train, validation=fitted.validation, checkpoints=tmp_path / "checkpoints")
    assert sampled(kept, 500).equals(sampled(fitted.synthesizer, 500))


@each
def test_the_registry_the_class_and_the_search_space_agree(name: str) -> None:
    assert synthesizer_class(name).name == name
    assert synthesizer_class(name).accelerator in ("cpu", "gpu")
    assert set(SYNTHESIZERS) == set(SPACES) == set(QUICK)


@each
@pytest.mark.parametrize("use_case", list(UseCase))
def test_what_a_search_tries_first_can_be_fitted(name: str, use_case: UseCase, tmp_path: Path) -> None:
    rows = source_rows(200, seed=3)
    tables = write_frames(UPath(tmp_path), schema_of(rows, KINDS), {"rows": rows})
    first = search_space(name, use_case).first()
    assert set(first) == set(SPACES[name].limits)
    hyperparameters = {**first, **({"epochs": 1} if "epochs" in first else {})}
    synthesizer = synthesizer_class(name)(tables.schema, random_state=0, **hyperparameters)
    synthesizer.fit(tables, validation=tables)
    assert sampled(synthesizer, 50).num_rows == 50


# --- any table a person may bring --------------------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@st.composite
def columns(draw: st.DrawFn, n_rows: int) -> tuple[pa.Array, Kind]:
    def values(of: st.SearchStrategy[Any]) -> list[Any]:
        holes = of if draw(st.booleans()) else st.none() | of
        return draw(st.lists(holes, min_size=n_rows, max_size=n_rows))

    match draw(
        st.sampled_from(["float", "float32", "huge", "int", "text", "bool", "date", "stamp", "null", "one", "same"])
    ):
        case "float":
            return pa.array(values(st.floats(-1e6, 1e6)), pa.float64()), Kind.NUMERIC
        case "float32":
            return pa.array(values(st.floats(-1e3, 1e3, width=32)), pa.float32()), Kind.NUMERIC
        case "huge":
            return pa.array(values(st.floats(allow_nan=False, allow_infinity=False)), pa.float64()), Kind.NUMERIC
        case "int":
            return pa.array(values(st.integers(-(2**63), 2**63 - 1)), pa.int64()), Kind.INTEGER
        case "text":
            return pa.array(values(TEXTS), pa.string()), draw(st.sampled_from([Kind.CATEGORICAL, Kind.TEXT]))
        case "bool":
            return pa.array(values(st.booleans()), pa.bool_()), Kind.BOOLEAN
        case "date":
            return pa.array(values(st.dates(date(1, 1, 1), date(9999, 12, 31))), pa.date32()), Kind.DATE
        case "stamp":
            moments = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))
            return pa.array(values(moments), pa.timestamp("us")), Kind.DATETIME
        case "null":
            kind = draw(st.sampled_from([Kind.CONSTANT, Kind.NUMERIC]))
            return pa.array([None] * n_rows, pa.float64()), kind
        case "one":
            return pa.array(values(st.just("only")), pa.string()), Kind.CATEGORICAL
        case _:
            return pa.array([draw(st.integers(-5, 5))] * n_rows, pa.int16()), draw(
                st.sampled_from([Kind.CONSTANT, Kind.INTEGER])
            )


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, dict[str, Kind]]:
    n_rows = draw(st.sampled_from([1, 2, 3, 30]))
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    drawn = [draw(columns(n_rows)) for _ in names]
    rows = pa.table([array for array, _ in drawn], names=names)
    return rows, dict(zip(names, (kind for _, kind in drawn), strict=True))


def any_table_is_learned_and_comes_back(
    name: str, case: tuple[pa.Table, dict[str, Kind]], root: pytest.TempPathFactory
) -> None:
    rows, kinds = case
    folder = root.mktemp("any")
    train = write_frames(UPath(folder / "train"), schema_of(rows, kinds), {"rows": rows})
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        synthesizer = fit(name, train, train, min_rows=1)
        found = sampled(synthesizer, 64, random_state=1)
    assert found.schema.equals(arrow_schema(train.schema.only_table), check_metadata=False)
    for column, kind in kinds.items():
        if rows[column].null_count == 0:
            assert found[column].null_count == 0, column
        if kind.is_discrete or kind == Kind.CONSTANT:
            assert set(found[column].to_pylist()) <= set(rows[column].to_pylist()), column
        elif kind.is_continuous and rows[column].null_count < rows.num_rows:
            bounds, new_bounds = pc.min_max(rows[column]), pc.min_max(found[column])
            if new_bounds["min"].is_valid:
                assert pc.greater_equal(new_bounds["min"], bounds["min"]).as_py(), column
                assert pc.less_equal(new_bounds["max"], bounds["max"]).as_py(), column
    synthesizer.save(folder / "model")
    assert sampled(load_synthesizer(folder / "model"), 64, random_state=1).equals(found)


@pytest.mark.parametrize("name", [name for name in SYNTHESIZERS if name != "gan"])
@given(case=tables())
def test_any_table_is_learned_and_comes_back_in_its_form(
    name: str, case: tuple[pa.Table, dict[str, Kind]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    any_table_is_learned_and_comes_back(name, case, tmp_path_factory)


@settings(max_examples=6)  # a training each, which is slower than counting
@given(case=tables())
def test_any_table_is_learned_by_a_gan_and_comes_back_in_its_form(
    case: tuple[pa.Table, dict[str, Kind]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    any_table_is_learned_and_comes_back("gan", case, tmp_path_factory)


CORNERS: dict[str, tuple[pa.Table, dict[str, Kind]]] = {
    "one row": (pa.table({"a": [1.5], "b": ["x"]}), {"a": Kind.NUMERIC, "b": Kind.CATEGORICAL}),
    "nothing to model": (pa.table({"a": [1, 2, 3], "b": ["x"] * 3}), {"a": Kind.IDENTIFIER, "b": Kind.CONSTANT}),
    "only discrete": (pa.table({"a": ["x", "y"] * 20}), {"a": Kind.CATEGORICAL}),
    "only continuous": (pa.table({"a": np.arange(40.0)}), {"a": Kind.NUMERIC}),
    "all null": (pa.table({"a": pa.array([None] * 9, pa.float64()), "b": pa.array([None] * 9, pa.string())}),
                 {"a": Kind.NUMERIC, "b": Kind.CATEGORICAL}),
    "extreme floats": (pa.table({"a": [1e308, -1e308, 5e-324, 0.0, 1e-300] * 6}), {"a": Kind.NUMERIC}),
    "extreme integers": (pa.table({"a": pa.array([2**63 - 1, -(2**63), 0] * 10, pa.int64())}), {"a": Kind.INTEGER}),
    "unsigned": (pa.table({"a": pa.array([2**64 - 1, 0, 7] * 10, pa.uint64())}), {"a": Kind.INTEGER}),
    "unicode names": (pa.table({"größe 📏": [1, 2] * 9, "a.b/c\n\"d'": ["x", "y"] * 9}),
                      {"größe 📏": Kind.INTEGER, "a.b/c\n\"d'": Kind.CATEGORICAL}),
    "empty text": (pa.table({"a": ["", "x"] * 9}), {"a": Kind.CATEGORICAL}),
}  # fmt: skip


@each
@pytest.mark.parametrize("corner", list(CORNERS))
def test_corner_cases_are_learned_and_come_back_in_their_form(
    name: str, corner: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    any_table_is_learned_and_comes_back(name, CORNERS[corner], tmp_path_factory)


@each
@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_infinities_are_refused_naming_the_column(name: str, value: float, tmp_path: Path) -> None:
    rows = pa.table({"fine": [1.0, 2.0] * 10, "speed of light": [1.0, value] * 10})
    train = write_frames(UPath(tmp_path), schema_of(rows, {}), {"rows": rows})
    with pytest.raises(DataError, match="speed of light"):
        fit(name, train, train)


@each
def test_no_rows_are_refused(name: str, tmp_path: Path) -> None:
    rows = pa.table({"a": pa.array([], pa.float64())})
    train = write_frames(UPath(tmp_path), schema_of(rows, {}), {"rows": rows})
    with pytest.raises(DataError):
        fit(name, train, train)


@pytest.mark.parametrize("name", ["bayesian_network", "gaussian_copula"])
def test_two_thousand_columns(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = pa.table({
        **{f"number {i}": rng.normal(size=200) for i in range(1000)},
        **{f"category {i}": np.array(["a", "b", "c"])[rng.integers(0, 3, 200)] for i in range(1000)},
    })  # fmt: skip
    train = write_frames(UPath(tmp_path), schema_of(rows, {}), {"rows": rows})
    few = {"bayesian_network": {"max_parents": 1, "n_bins": 8}, "gaussian_copula": {"n_quantiles": 20}}
    found = sampled(fit(name, train, train, **few[name]), 100)
    assert found.column_names == rows.column_names
