"""An estimate before anything is set up: from a look at the source, without a run."""

from dataclasses import dataclass
from tempfile import TemporaryDirectory

from upath import UPath

from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.connectors import Secrets, environment_secrets, open_connector
from hazy_pipeline.estimate.history import History
from hazy_pipeline.estimate.model import Machine
from hazy_pipeline.estimate.record import PROBE_SECONDS, Estimate, estimate
from hazy_pipeline.profile import profile_tables
from hazy_pipeline.registry.costs import earlier_costs
from hazy_pipeline.registry.tracking import Tracking

MOST_ROWS = 60_000


@dataclass(frozen=True)
class Look:
    """An estimate, how many rows were read for it, and how the number of all is known."""

    estimate: Estimate
    read: int
    how: str
    earlier_runs: int


def look(config: GeneratorConfig, *, max_rows: int = MOST_ROWS, seconds: float = PROBE_SECONDS,
         secrets: Secrets = environment_secrets) -> Look:  # fmt: skip
    """Read at most `max_rows` rows, profile them, and forecast a run over the whole source.

    `seconds`: of processor time for the probes of each candidate. Raises SourceError, DataError and ConfigurationError.
    """
    connector = open_connector(config.source, table_name=config.name, secrets=secrets)
    with TemporaryDirectory() as temporary:
        peek = connector.peek(UPath(temporary) / "peek", max_rows=max_rows)
        name = peek.tables.schema.only_table.name
        profile = profile_tables(peek.tables, config.source.columns, target=config.target)
        records = earlier_costs(Tracking(config.name), schema=peek.tables.schema.digest)
        made = estimate(peek.tables, profile, config, n_rows=peek.n_rows, seconds=seconds,
                        history=History.of(records, Machine.here()))  # fmt: skip
        return Look(made, peek.tables.n_rows(name), peek.how, len(records))
