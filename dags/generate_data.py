"""`generate_data`: a form that asks for a Generator, a number of rows and a destination, and writes synthetic rows."""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, task
from hazy_airflow import OWNER, airflow_secrets, clear_errors, generators, use_cores

from hazy_pipeline import settings

NAMES = [generator.name for generator in generators() if generator.config]
EVERY_NAME = {"enum": NAMES} if NAMES else {}

with DAG(
    dag_id="generate_data",
    description="Write synthetic rows drawn from a registered Generator",
    doc_md="Choose a Generator and say how many rows you want and where. Rows are drawn from its champion and streamed "
    "to the destination, in constant memory whatever their number. The same seed gives the same rows.",
    schedule=None,
    catchup=False,
    tags={"hazy"},
    default_args={"owner": OWNER},
    params={
        "generator": Param(NAMES[0] if NAMES else None, type="string", title="Generator", **EVERY_NAME),
        "rows": Param(1_000, type="integer", minimum=0, maximum=10**12, title="Rows"),
        "to": Param(
            None, type=["null", "string"], title="File or URL", section="Destination",
            description="A path or URL that ends in .csv, .csv.gz or .parquet, or a database URL without a password. "
            "Empty: a CSV file in the folder `generated` of HAZY_HOME, unless a connection is given",
        ),
        "connection": Param(
            None, type=["null", "string"], title="Connection", section="Destination",
            description="Id of an Airflow connection to a database, in place of a file or URL",
        ),
        "table": Param(
            None, type=["null", "string"], title="Table", section="Destination",
            description="Where the destination is a database: the table to write",
        ),
        "alias": Param(
            "champion", type="string", pattern=r"^([A-Za-z][\w.-]*|\d+)$", title="Version", section="More",
            description="An alias or a version number", examples=["champion", "challenger", "previous"],
        ),
        "where": Param(
            None, type=["null", "string"], title="Conditions", section="More",
            description="Only rows of these values: age>=30, city=Wien|Graz, income=null",
        ),
        "shard": Param(
            None, type=["null", "string"], pattern=r"^\s*\d+\s*/\s*\d+\s*$", title="Part", section="More",
            description="2/5 writes the second of five parts, for several machines to share the work. Empty: all rows",
        ),
        "seed": Param(0, type="integer", minimum=0, maximum=2**32 - 1, title="Seed", section="More"),
    },
) as dag:  # fmt: skip

    @task(
        task_display_name="Generate",
        execution_timeout=timedelta(days=2),
        retries=1,
        retry_delay=timedelta(seconds=30),
    )
    def generate(**context: Any) -> Any:
        """Draw the rows and write them; a destination is whole or untouched."""
        use_cores(1)
        asked = context["params"]
        to = asked["to"] or None
        if not to and not asked["connection"]:
            folder = settings.home() / "generated"
            folder.mkdir(parents=True, exist_ok=True)
            part = f"-{asked['shard'].replace('/', '-of-').replace(' ', '')}" if asked["shard"] else ""
            to = str(folder / f"{asked['generator']}-{asked['rows']}{part}.csv")
        with clear_errors():
            from hazy_pipeline.generate import generate as generate_rows

            return generate_rows(
                asked["generator"], rows=asked["rows"], to=to, alias=asked["alias"], connection=asked["connection"] or None,
                table=asked["table"] or None, seed=asked["seed"], where=asked["where"] or None,
                shard=asked["shard"] or None, secrets=airflow_secrets,
            )  # fmt: skip

    generate()
