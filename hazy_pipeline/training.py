"""The final training of a chosen configuration, as a step of a run: fitted on all training rows, followed in MLflow."""

from pathlib import Path

from upath import UPath

from hazy_pipeline.run import Run
from hazy_pipeline.run_store import Json, folder_to_write


def fit_choice(run: Run, choice: Json, folder: UPath, *, checkpoints: Path, mlflow_run: str) -> Json:
    """Fit `choice` (a line of the leaderboard) and save it as `folder/model`; what that took."""
    from hazy_pipeline.estimate.measure import taken_by
    from hazy_pipeline.train.fit import fit_and_save
    from hazy_pipeline.tune.search import seed_of

    config, profiled = run.config, run.outputs("profile")
    child = run.child_run(mlflow_run, tags={"hazy.candidate": choice["candidate"]})

    def on_epoch(epoch: int, loss: float) -> None:
        run.tracking.log(child, metrics={"loss": loss}, step=epoch)

    with folder_to_write(folder / "model") as model:
        seconds, taken = taken_by(lambda: fit_and_save(
            choice["candidate"], choice["hyperparameters"], run.split("train").schema, run.split("train"),
            run.split("validation"), into=model, checkpoints=checkpoints, seconds=config.training.seconds,
            random_state=seed_of(config.seed, "train"), min_rows=config.privacy.min_rows, text=config.privacy.text,
            target=config.target, train_share=profiled["parts"]["train"] / profiled["rows"],
            on_epoch=on_epoch,
        ))  # fmt: skip
    run.tracking.log(child, params=choice["hyperparameters"], metrics={"seconds": seconds})
    run.tracking.end(child)
    return {"candidate": choice["candidate"], "seconds": round(seconds, 2), "cpu_seconds": round(taken.cpu, 2),
            "peak_bytes": taken.peak}  # fmt: skip
