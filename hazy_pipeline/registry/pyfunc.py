"""The MLflow flavour of a Generator, logged as code: `predict` samples rows. Nothing here is pickled."""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from hazy_pipeline.errors import ModelError
from hazy_pipeline.synthesizers.base import load_synthesizer

MODEL_ARTIFACT = "model"


class GeneratorModel(PythonModel):
    """`predict(pd.DataFrame({"n_rows": [1000]}), params={"random_state": 1})` -> 1,000 synthetic rows."""

    def load_context(self, context: PythonModelContext) -> None:
        self.synthesizer = load_synthesizer(Path(context.artifacts[MODEL_ARTIFACT]))

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # fmt: skip
        requested = int(model_input["n_rows"].iloc[0])
        if len(model_input) != 1 or requested < 0:
            raise ModelError(
                f"n_rows: expected one row with a number of at least 0, got {model_input['n_rows'].tolist()}"
            )
        seed = int((params or {}).get("random_state", 0))
        rows = self.synthesizer.sample(requested, random_state=seed)[self.synthesizer.table.name]
        frame: pd.DataFrame = rows.to_pandas(types_mapper=_nullable)
        return frame


def _nullable(arrow: Any) -> Any:
    """Integers and booleans keep their type beside nulls."""
    import pyarrow as pa

    kinds = {
        pa.int8(): pd.Int8Dtype(), pa.int16(): pd.Int16Dtype(), pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(),
        pa.uint8(): pd.UInt8Dtype(), pa.uint16(): pd.UInt16Dtype(), pa.uint32(): pd.UInt32Dtype(),
        pa.uint64(): pd.UInt64Dtype(), pa.bool_(): pd.BooleanDtype(),
    }  # fmt: skip
    return kinds.get(arrow)


mlflow.models.set_model(GeneratorModel())
