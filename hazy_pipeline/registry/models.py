"""MLflow as a shelf: a Generator's versions, their aliases, and the model folders behind them."""

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pyarrow as pa
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

from hazy_pipeline import __version__, settings
from hazy_pipeline.config import NAME
from hazy_pipeline.errors import HazyError, ModelError
from hazy_pipeline.registry import pyfunc
from hazy_pipeline.registry.tracking import Tracking
from hazy_pipeline.schema import DatasetSchema, TableSchema
from hazy_pipeline.synthesizers.base import Synthesizer, load_synthesizer
from hazy_pipeline.synthesizers.folder import read_model
from hazy_pipeline.tables import arrow_type

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
RUN_TAG = "hazy.run_id"
REPORT = "report.html"
STARTED_FROM = "started_from"  # tag of a version whose training began with the weights of an earlier one: its number
SCORES_FROM_SCRATCH = "scores_from_scratch"  # ... and the scores of that before it which began with random weights

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Version:
    """One registered version of a Generator."""

    number: int
    run_id: str  # MLflow's
    tags: Mapping[str, str]
    aliases: tuple[str, ...]

    @property
    def algorithm(self) -> str:
        return self.tags.get("algorithm", "")


def register(tracking: Tracking, mlflow_run: str, model: Path, *, pipeline_run: str, card: str,
             tags: Mapping[str, str]) -> Version:  # fmt: skip
    """Log a model folder under its MLflow run and register it; once per pipeline run, however often it is called."""
    known = version_of_run(tracking, pipeline_run)
    if known is not None:
        return known
    _use(tracking)
    schema = _schema(model)
    with mlflow.start_run(run_id=mlflow_run):
        logged = mlflow.pyfunc.log_model(
            name="generator",
            python_model=str(Path(pyfunc.__file__)),
            artifacts={
                pyfunc.MODEL_ARTIFACT: model.resolve().as_uri()
            },  # MLflow takes a % in a bare path for an escape
            signature=_signature(schema.only_table),
            input_example=pd.DataFrame({"n_rows": [5]}),
            pip_requirements=[f"hazy-pipeline=={__version__}", f"mlflow=={mlflow.__version__}"],
        )
    client = tracking.client
    try:
        client.create_registered_model(tracking.generator)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    created = client.create_model_version(
        tracking.generator, logged.model_uri, run_id=mlflow_run, description=card,
        tags={**tags, RUN_TAG: pipeline_run}, model_id=logged.model_id,
    )  # fmt: skip
    return _version(tracking, created)


def start_tags(tracking: Tracking, number: int | None) -> dict[str, str]:
    """The tags of a version whose training began with the weights of version `number`; none where that is None.

    They carry the scores of the last version that began with random weights along, so that a choice which is only ever
    trained further is compared with those, not with what it has come to.
    """
    if number is None:
        return {}
    before = version_at(tracking, str(number))
    scores = (
        {} if before is None else {SCORES_FROM_SCRATCH: before.tags.get(SCORES_FROM_SCRATCH, before.tags["scores"])}
    )
    return {STARTED_FROM: str(number), **scores}


def versions(tracking: Tracking) -> list[Version]:
    """All versions, newest first; none where nothing was registered."""
    if not NAME.fullmatch(tracking.generator):  # no Generator's, and a quote would break MLflow's filter
        return []
    found = tracking.client.search_model_versions(f"name = '{tracking.generator}'")
    return sorted((_version(tracking, v) for v in found), key=lambda v: -v.number)


def version_of_run(tracking: Tracking, pipeline_run: str) -> Version | None:
    return next((v for v in versions(tracking) if v.tags.get(RUN_TAG) == pipeline_run), None)


def version_at(tracking: Tracking, alias: str) -> Version | None:
    """The version behind an alias (or a number), None where there is none."""
    try:
        if alias.isdigit():
            return _version(tracking, tracking.client.get_model_version(tracking.generator, alias))
        return _version(tracking, tracking.client.get_model_version_by_alias(tracking.generator, alias))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def promote(tracking: Tracking, number: int) -> None:
    """Make a version the champion; the one before it becomes `previous`. Done twice, nothing changes."""
    champion = version_at(tracking, CHAMPION)
    if champion is not None and champion.number != number:
        tracking.client.set_registered_model_alias(tracking.generator, PREVIOUS, str(champion.number))
    tracking.client.set_registered_model_alias(tracking.generator, CHAMPION, str(number))
    challenger = version_at(tracking, CHALLENGER)
    if challenger is not None and challenger.number == number:
        tracking.client.delete_registered_model_alias(tracking.generator, CHALLENGER)


def challenge(tracking: Tracking, number: int) -> None:
    """Mark a version as the newest that has not beaten the champion."""
    tracking.client.set_registered_model_alias(tracking.generator, CHALLENGER, str(number))


@contextmanager
def model_folder(tracking: Tracking, alias: str) -> Iterator[tuple[Version, Path]]:
    """A version's model folder on this machine; raises ModelError where there is no such version, or MLflow has no such
    folder any more, and MLflow's own error where it cannot be reached."""
    version = version_at(tracking, alias)
    if version is None:
        raise ModelError(_absent(tracking, alias))
    _use(tracking)
    with tempfile.TemporaryDirectory() as temporary:
        uri = f"models:/{tracking.generator}/{version.number}"
        try:
            local = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=temporary))
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
                raise
            raise ModelError(f"{tracking.generator} version {version.number}: {error.message}") from error
        yield version, local / "artifacts" / _artifact_folder(local)


def load_version(tracking: Tracking, version: Version) -> Synthesizer:
    """A version's model; raises ModelError where its folder is damaged, missing, or of a newer format, and MLflow's own
    error where MLflow cannot be reached."""
    with _folder_of(tracking, version) as folder:
        return load_synthesizer(folder)


def load_model(tracking: Tracking, alias: str) -> tuple[Version, Synthesizer]:
    """What serves under an alias or a number; raises ModelError, with what to do, where there is none or it cannot be loaded."""
    version = version_at(tracking, alias)
    if version is None:
        raise ModelError(_absent(tracking, alias))
    try:
        return version, load_version(tracking, version)
    except ModelError as error:
        name = tracking.generator
        raise ModelError(f"{name} version {version.number} cannot be loaded ({error}). Train a new one (a run with --force, or "
                         f"force in its form), or name another: {name}@previous, {name}@NUMBER") from error  # fmt: skip


def schema_of(tracking: Tracking, version: Version) -> DatasetSchema:
    """The schema that a version was trained on; raises as `load_version` does."""
    with _folder_of(tracking, version) as folder:
        return _schema(folder)


def _schema(folder: Path) -> DatasetSchema:
    try:
        return DatasetSchema.model_validate(read_model(folder)["schema"])
    except ValueError as error:
        raise ModelError(f"{folder}: its schema is damaged ({error}); register the model again") from error


@contextmanager
def _folder_of(tracking: Tracking, version: Version) -> Iterator[Path]:
    """A version's model folder; a ModelError about it does not name the temporary folder that it lies in."""
    with model_folder(tracking, str(version.number)) as (_, folder):
        try:
            yield folder
        except ModelError as error:
            raise ModelError(str(error).replace(f"{folder}/", "").replace(f"{folder}: ", "")) from error


def champion_damage(tracking: Tracking) -> str | None:
    """That the champion cannot be loaded and why, in words; None where it can, or there is none. Raises MLflow's own error where
    MLflow cannot be reached."""
    champion = version_at(tracking, CHAMPION)
    if champion is None:
        return None
    try:
        load_version(tracking, champion)
    except ModelError as error:
        return f"champion version {champion.number} can no longer be loaded ({error})"
    return None


def not_compared(champion: Version, error: ModelError) -> str:
    """What a report says where the champion's model could not be loaded; the log is told as well."""
    told = f"Champion version {champion.number} could not be loaded ({error}), so it was not compared."
    log.warning("%s", told)
    return told


@contextmanager
def earlier_model(tracking: Tracking, number: int | None) -> Iterator[Path | None]:
    """The model folder of the version that a training may begin with; None where there is none, or it cannot be had."""
    with ExitStack() as stack:
        folder = None
        try:
            if number is not None:
                _, folder = stack.enter_context(model_folder(tracking, str(number)))
        except (HazyError, MlflowException, OSError, LookupError, TypeError, ValueError) as error:
            log.info("the training starts from random weights, for version %s cannot be had: %s", number, error)
        yield folder


def fetch_report(tracking: Tracking, alias: str, to: Path) -> Version:
    """Copy a version's HTML report to `to`; raises ModelError where there is no such version or it has none."""
    version = version_at(tracking, alias)
    if version is None:
        raise ModelError(_absent(tracking, alias))
    with tempfile.TemporaryDirectory() as temporary:
        try:
            local = Path(tracking.client.download_artifacts(version.run_id, REPORT, temporary))
        except (MlflowException, OSError):
            raise ModelError(f"{tracking.generator} version {version.number} was registered without a report") from None
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(local.read_bytes())
    return version


def generators() -> list[str]:
    """The names of all Generators that have a registered version."""
    client = Tracking("").client
    return sorted(model.name for model in client.search_registered_models(max_results=1000))


def _absent(tracking: Tracking, alias: str) -> str:
    """What to say where there is no such version: which others there are, or which other Generators."""
    name, have = tracking.generator, versions(tracking)
    if not have:
        known = ", ".join(generators())
        return f"{name}: no model of this name is registered; " + (
            f"there are {known}" if known else "none is: train a Generator first")  # fmt: skip
    told = ", ".join(f"{v.number}{''.join(f' @{a}' for a in v.aliases)}" for v in have)
    if alias == CHAMPION:
        return (f"{name}: has no champion, for no version passed the rules of promotion yet; registered are: {told}; "
                f"name one, such as {name}@{have[0].aliases[0] if have[0].aliases else have[0].number}")  # fmt: skip
    return f"{name}@{alias}: no such version; registered are: {told}"


def _artifact_folder(local: Path) -> str:
    import yaml

    try:
        flavors = yaml.safe_load((local / "MLmodel").read_text(encoding="utf-8"))["flavors"]
        return Path(flavors["python_function"]["artifacts"][pyfunc.MODEL_ARTIFACT]["path"]).name
    except FileNotFoundError:
        raise ModelError("MLmodel: missing; register the model again") from None
    except (LookupError, TypeError, ValueError, yaml.YAMLError) as error:
        raise ModelError(f"MLmodel: damaged ({type(error).__name__}: {error}); register the model again") from None


def _use(tracking: Tracking) -> None:
    """Point MLflow's module-level functions, which cannot be handed a client, at our store."""
    assert tracking.client  # creates the database where it is missing
    mlflow.set_tracking_uri(settings.tracking_uri())
    mlflow.set_registry_uri(settings.tracking_uri())


def _version(tracking: Tracking, version: ModelVersion) -> Version:
    aliases = tracking.client.get_registered_model(tracking.generator).aliases
    own = tuple(sorted(alias for alias, number in aliases.items() if str(number) == str(version.version)))
    return Version(int(version.version), version.run_id or "", dict(version.tags), own)


def _signature(table: TableSchema) -> ModelSignature:
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(_mlflow_type(arrow_type(c.storage)), c.name, required=False) for c in table.columns
    ]
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.long, "n_rows")]),
        outputs=Schema(outputs),
        params=ParamSchema([ParamSpec("random_state", DataType.long, 0)]),
    )


def _mlflow_type(arrow: Any) -> DataType:
    if pa.types.is_boolean(arrow):
        return DataType.boolean
    if pa.types.is_integer(arrow):
        return DataType.long if arrow.bit_width == 64 else DataType.integer
    if pa.types.is_floating(arrow):
        return DataType.double
    if pa.types.is_timestamp(arrow):
        return DataType.datetime
    return DataType.string


def card_facts(version: Version) -> dict[str, Any]:
    """The scores that were stored with a version, as numbers."""
    return json.loads(version.tags.get("scores", "{}"))  # type: ignore[no-any-return]
