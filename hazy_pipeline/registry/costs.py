"""What earlier runs of a Generator cost, as they wrote it beside their MLflow runs."""

import tempfile
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from upath import UPath

from hazy_pipeline import settings
from hazy_pipeline.registry.tracking import Tracking
from hazy_pipeline.run_store import read_json

COSTS = "cost.json"
TAG = "hazy.costs"  # the digest of the schema that the costs are of


def earlier_costs(tracking: Tracking, *, schema: str, most: int = 3) -> list[dict[str, Any]]:
    """The newest `most` records of runs over the same schema, newest first; none where there is no store yet."""
    uri = settings.tracking_uri()
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return []
    found = tracking.client.search_runs(
        [tracking.experiment_id],
        f"tags.`{TAG}` = '{schema}'",
        max_results=most,
        order_by=["attributes.start_time DESC"],
    )
    records = []
    for each in found:
        with tempfile.TemporaryDirectory() as temporary:
            try:
                file = Path(tracking.client.download_artifacts(each.info.run_id, COSTS, temporary))
            except (MlflowException, OSError):  # deleted since, or an artifact store that is gone
                continue
            if (record := read_json(UPath(file))) is not None:
                records.append(record)
    return records
