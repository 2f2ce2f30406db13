"""`hazy init`: from a file or a database to a YAML that works."""

import gzip
import json
import sqlite3
import stat
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from hazy_pipeline import onboarding, settings
from hazy_pipeline.cli import main
from hazy_pipeline.config import load_config
from hazy_pipeline.connectors import open_connector
from hazy_pipeline.errors import ConfigurationError, HazyError
from hazy_pipeline.onboarding import write_generator

ROWS = pd.DataFrame(
    {"stadt": ["Köln", "Zürich", "Linz"] * 60, "preis": range(180), "text": ['a,b "c"\nd;e', "x", "y"] * 60}
)


def written(tmp_path: Path, data: Path | str, **options: str) -> dict[str, object]:
    file = write_generator(str(data), into=tmp_path / "generators", **options)
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def columns(tmp_path: Path, name: str) -> tuple[str, ...]:
    config = load_config(tmp_path / "generators" / f"{name}.yaml")
    return open_connector(config.source, table_name=name).schema().only_table.column_names


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_and_encoding_of_a_csv_are_found(tmp_path: Path, delimiter: str, encoding: str) -> None:
    file = tmp_path / "rows.csv"
    ROWS.to_csv(file, sep=delimiter, encoding=encoding, index=False)
    found = written(tmp_path, file)["source"]
    expected = {"delimiter": delimiter} if delimiter != "," else {}
    expected |= {"encoding": encoding} if not encoding.startswith("utf-8") else {}
    assert found.get("csv", {}) == expected
    assert columns(tmp_path, "rows") == ("stadt", "preis", "text")


def test_a_compressed_tsv_is_looked_at_too(tmp_path: Path) -> None:
    file = tmp_path / "rows.tsv.gz"
    file.write_bytes(gzip.compress(ROWS.to_csv(sep="\t", index=False).encode()))
    assert written(tmp_path, file)["source"]["csv"] == {"delimiter": "\t"}
    assert columns(tmp_path, "rows") == ("stadt", "preis", "text")


def test_commas_within_values_do_not_hide_a_semicolon(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("a;b;c\n" + "1,5;x;2,50\n" * 300)
    assert written(tmp_path, file)["source"]["csv"] == {"delimiter": ";"}


def test_a_letter_that_shows_late_decides_the_encoding(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b"a,b\n" + b"1,plain\n" * 400_000 + "2,Köln\n".encode("cp1252"))
    assert written(tmp_path, file)["source"]["csv"] == {"encoding": "cp1252"}


@pytest.mark.parametrize("text", ["only\nred\nblue\n", "a,b\n1,2\n", "a;b,c\n1;2,3\n"])
def test_what_is_usual_is_not_written(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(text)
    assert "csv" not in written(tmp_path, file)["source"]


def test_what_the_owner_changed_stays(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    ROWS.to_csv(file, index=False)
    config = written(tmp_path, file)
    config["source"] |= {"columns": {"exclude": ["text"]}, "csv": {"null_values": ["?"]}}
    config["tuning"]["trials"] = 99
    yaml_file = tmp_path / "generators" / "rows.yaml"
    yaml_file.write_text(yaml.safe_dump(config))
    assert written(tmp_path, file) == config
    assert written(tmp_path, file, target="stadt") == {**config, "target": "stadt"}


def test_another_source_needs_another_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        ROWS.to_csv(tmp_path / name / "rows.csv", index=False)
    written(tmp_path, tmp_path / "one" / "rows.csv")
    with pytest.raises(ConfigurationError, match="exists already, for another source; give another name"):
        written(tmp_path, tmp_path / "two" / "rows.csv")


def test_a_broken_yaml_is_told_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    ROWS.to_csv(file, index=False)
    written(tmp_path, file)
    yaml_file = tmp_path / "generators" / "rows.yaml"
    yaml_file.write_text("name: [")
    with pytest.raises(ConfigurationError, match=r"rows.yaml:1: not valid YAML"):
        written(tmp_path, file)
    assert yaml_file.read_text() == "name: ["


def test_an_unknown_target_is_told_with_its_neighbours(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    ROWS.to_csv(file, index=False)
    with pytest.raises(ConfigurationError, match="no column 'pries'; did you mean 'preis'"):
        written(tmp_path, file, target="pries")
    assert not (tmp_path / "generators").exists()


def test_a_table_of_a_database(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        ROWS.to_sql("Order Lines", database, index=False)
    config = written(tmp_path, f"sqlite:///{tmp_path}/shop.db", table="Order Lines")
    assert (config["name"], config["source"]["table"]) == ("order_lines", "Order Lines")
    with pytest.raises(ConfigurationError, match="which table"):
        written(tmp_path, f"sqlite:///{tmp_path}/shop.db")


@pytest.mark.parametrize("scheme", ["postgresql", "mysql", "oracle"])
def test_a_failed_look_leaves_neither_password_nor_yaml(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(HazyError) as told:
        written(tmp_path, f"{scheme}://reader:s3cr3t-marker@127.0.0.1:1/shop", table="orders")
    assert "s3cr3t-marker" not in str(told.value)
    assert not settings.connections_file().exists()
    assert not (tmp_path / "generators").exists()


def test_a_password_is_kept_apart_and_no_other_database_takes_its_place(tmp_path: Path) -> None:
    generator = tmp_path / "orders.yaml"
    keep = onboarding._keep_connection
    keep("orders", "postgresql://reader:old-marker@db/shop", generator)
    generator.write_text("name: orders")
    keep("orders", "postgresql://reader:new-marker@db/shop", generator)
    with pytest.raises(ConfigurationError, match="exists already, for another source"):
        keep("orders", "postgresql://reader:x@elsewhere/shop", generator)
    assert json.loads(settings.connections_file().read_text()) == {"orders": "postgresql://reader:new-marker@db/shop"}
    assert stat.S_IMODE(settings.connections_file().stat().st_mode) == 0o600


@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_place_that_cannot_be_used_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    ROWS.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COLUMNS", "500")
    into = tmp_path / "file" / "generators" if place == "file" else tmp_path / "folder"
    (tmp_path / "folder" / "rows.yaml").mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", ["hazy", "init", str(tmp_path / "rows.csv"), "--into", str(into)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert str(into) in capsys.readouterr().err
