"""The final training of a chosen configuration, as a step of a run: fitted on all training rows, followed in MLflow."""

from pathlib import Path

from upath import UPath

from hazy_pipeline.run import Run
from hazy_pipeline.run_store import Json, folder_to_write
from hazy_pipeline.search_spaces import further


def fit_choice(run: Run, choice: Json, folder: UPath, *, checkpoints: Path, mlflow_run: str,
               start_from: int | None = None) -> Json:  # fmt: skip
    """Fit `choice` (a line of the leaderboard) and save it as `folder/model`; what that took.

    `start_from`: the version whose weights the training begins with, where they fit. `started_from` is it where they did.
    """
    from hazy_pipeline.estimate.measure import taken_by
    from hazy_pipeline.registry.models import STARTED_FROM, earlier_model
    from hazy_pipeline.train.fit import fit_and_save
    from hazy_pipeline.tune.search import seed_of

    config, profiled = run.config, run.outputs("profile")
    child = run.child_run(mlflow_run, tags={"hazy.candidate": choice["candidate"]})

    def on_epoch(epoch: int, loss: float) -> None:
        run.tracking.log(child, metrics={"loss": loss}, step=epoch)

    with earlier_model(run.tracking, start_from) as start, folder_to_write(folder / "model") as model:
        (seconds, started), taken = taken_by(lambda: fit_and_save(
            choice["candidate"], choice["hyperparameters"], run.split("train").schema, run.split("train"),
            run.split("validation"), into=model, checkpoints=checkpoints, seconds=config.training.seconds,
            random_state=seed_of(config.seed, "train"), min_rows=config.privacy.min_rows, text=config.privacy.text,
            target=config.target, train_share=profiled["parts"]["train"] / profiled["rows"], start=start, on_epoch=on_epoch,
        ))  # fmt: skip
    trained = further(choice["hyperparameters"]) if started else choice["hyperparameters"]
    run.tracking.log(child, params=choice["hyperparameters"], metrics={"seconds": seconds},
                     tags={f"hazy.{STARTED_FROM}": str(start_from)} if started else {})  # fmt: skip
    run.tracking.end(child)
    return {"candidate": choice["candidate"], "seconds": round(seconds, 2), "cpu_seconds": round(taken.cpu, 2),
            "peak_bytes": taken.peak, "hyperparameters": trained, "started_from": start_from if started else None}  # fmt: skip
