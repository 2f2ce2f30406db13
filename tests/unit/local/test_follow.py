"""What a person reads about a run: names of tasks, a failing task's own error, scores and rows."""

import io
import json
from pathlib import Path

from rich.console import Console

from hazy_pipeline.local.airflow_api import TaskState
from hazy_pipeline.local.follow import error_in, title
from hazy_pipeline.local.outcome import row_table, score_table


def state(task_id: str, name: str, map_index: int = -1) -> TaskState:
    return TaskState(task_id, map_index, name, "success", 1, 1.0)


def printed(thing: object) -> str:
    out = io.StringIO()
    Console(width=200, file=out).print(thing)
    return out.getvalue()


def test_names_of_tasks() -> None:
    assert title(state("extract", "Extract")) == "Extract"
    assert title(state("bayesian_network.best", "Best trial")) == "Bayesian network: Best trial"
    assert title(state("gan.tune", "Tune", 2)) == "GAN: Tune 3"


def log(path: Path, *entries: object) -> Path:
    file = path / "attempt=1.log"
    file.write_text("\n".join(json.dumps(entry) if not isinstance(entry, str) else entry for entry in entries))
    return file


def failure(kind: str, value: str) -> dict[str, object]:
    return {"level": "error", "event": "Task failed with exception",
            "error_detail": [{"exc_type": kind, "exc_value": value, "frames": []}]}  # fmt: skip


def test_the_error_of_a_task(tmp_path: Path) -> None:
    file = log(
        tmp_path,
        {"level": "info", "event": "starting"},
        "not JSON",
        failure("ValueError", "first"),
        {"level": "error", "event": "something on the way"},
        failure("AirflowFailException", "orders.csv: no such file"),
        {"level": "info", "event": "ended"},
    )
    assert error_in(file) == "orders.csv: no such file"
    assert error_in(log(tmp_path, failure("MemoryError", "no room"))) == "MemoryError: no room"


def test_a_task_that_left_no_error(tmp_path: Path) -> None:
    assert "left no log" in error_in(tmp_path / "absent.log")
    assert "ended from outside" in error_in(log(tmp_path, {"level": "info", "event": "starting"}))


def test_scores_stand_beside_what_real_data_reach() -> None:
    judged = {"score": 0.9, "fidelity": 0.91234, "utility": None, "privacy": 1.0,
              "limit": {"score": 0.95, "fidelity": 0.96, "utility": None, "privacy": None}}  # fmt: skip
    text = printed(score_table(judged))
    assert [line.split("│")[1:4] for line in text.splitlines() if "fidelity" in line] == [
        [" fidelity ", " 0.912     ", " 0.960                 "]
    ]
    assert "utility" not in text


def test_few_columns_stand_beside_each_other() -> None:
    text = printed(row_table([{"a": "1", "b": None}, {"a": "[red]2", "b": "x"}]))
    assert "null" in text
    assert "[red]2" in text
    assert "row 1" not in text


def test_many_columns_stand_below_each_other() -> None:
    rows = [{f"column {i}": f"{i}/{row}" for i in range(50)} for row in range(5)]
    text = printed(row_table(rows))
    assert "row 3" in text
    assert "row 4" not in text
    assert "column 39" in text
    assert "column 40" not in text
    assert "and 10 more columns" in text
