"""The compiled loops are there where they can be, and nothing hangs on them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hazy_pipeline import compiled

FIT = """
import sys
import numpy as np, pyarrow as pa
from upath import UPath
from hazy_pipeline import compiled
from hazy_pipeline.schema import Column, DatasetSchema, TableSchema
from hazy_pipeline.synthesizers import synthesizer_class
from hazy_pipeline.config import Columns
from hazy_pipeline.profile import profile_tables
from hazy_pipeline.tables import write_frames

rng = np.random.default_rng(0)
rows = pa.table({"size": rng.gamma(2, 10, 3_000), "kind": rng.choice(list("abcd"), 3_000), "is_big": rng.integers(0, 2, 3_000)})
schema = DatasetSchema(tables=(TableSchema(name="rows", columns=tuple(Column(name=f.name, storage=str(f.type)) for f in rows.schema)),))
tables = write_frames(UPath(sys.argv[1]), schema, {"rows": rows})
tables = tables.with_schema(profile_tables(tables, Columns(), target="is_big").schema)
model = synthesizer_class("bayesian_network")(tables.schema, random_state=0, target="is_big", proposals=2)
model.fit(tables, validation=tables)
made = pa.Table.from_batches(model.sample_batches(5_000, random_state=0))
print(compiled.is_in_use(), made.num_rows, sorted(set(made.column("kind").to_pylist())))
"""


@pytest.mark.skipif(shutil.which("cc") is None and "CI" not in os.environ, reason="no C compiler")
def test_they_are_built_where_there_is_a_compiler() -> None:
    assert compiled.is_in_use()
    assert all(getattr(compiled, name).__file__.endswith(".so") for name in compiled.MODULES)


def test_everything_works_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAZY_COMPILED", "0")
    done = subprocess.run([sys.executable, "-c", FIT, tmp_path / "rows"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "False 5000 ['a', 'b', 'c', 'd']\n"), done.stderr[-2000:]
    shown = subprocess.run(
        [Path(sys.executable).with_name("hazy"), "--version"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.endswith(", without its compiled loops\n")
