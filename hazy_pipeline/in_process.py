"""The pipeline without Airflow: the same steps, one after the other, in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hazy_pipeline import steps
from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.connectors import Secrets, environment_secrets
from hazy_pipeline.errors import HazyError
from hazy_pipeline.run import Options, open_run

OnStep = Callable[[str, int, int], None]  # (what begins now, steps done, steps in all)


def _ignore(step: str, done: int, total: int) -> None:
    """Nobody follows the progress."""


def run_pipeline(config: GeneratorConfig | Path, run_id: str, options: Options, *, secrets: Secrets = environment_secrets,
                 on_step: OnStep = _ignore) -> dict[str, Any]:  # fmt: skip
    """All steps in order; returns what `decide`, `promote` and `generate` said, how the model that was registered is judged,
    what took the winner's place (`fallback`), and the failed candidates.

    A candidate whose tuning fails leaves the others running; its error is in `failed`, by name. Any other error ends the
    run (closed as failed in MLflow) and is raised.
    """
    run = open_run(config, run_id, options, secrets)
    try:
        return _all_steps(run, on_step)
    except BaseException:
        steps.close(run, failed=True)
        raise


def _all_steps(run: steps.Run, on_step: OnStep) -> dict[str, Any]:
    candidates = list(run.config.candidates)
    total, done = 11 + len(candidates), 0  # what is being tuned changes, with one step for each candidate

    def begin(name: str) -> None:
        nonlocal done
        on_step(name, done, total)
        done += 1

    begin("extract")
    steps.extract(run)
    begin("profile")
    steps.profile(run)
    begin("decide")
    decision = steps.decide(run)
    if not decision["train"]:
        steps.close(run)
        return {"generator": run.config.name, "decision": decision, "failed": {}}
    found, failed = _search(run, decision, lambda name: on_step(name, done, total))
    done += len(candidates)
    begin("select")
    steps.select(run, found)
    begin("train")
    steps.train(run)
    begin("evaluate")
    steps.evaluate(run)
    begin("fall back")
    final = steps.fall_back(run)
    begin("register")
    registered = steps.register(run)
    begin("promote")
    promoted = steps.promote(run)
    begin("generate")
    generated = steps.generate(run)
    begin("clean up")
    steps.clean_up(run)
    on_step("done", total, total)
    return {"generator": run.config.name, "decision": decision, "registered": registered, "evaluated": final["judged"], "fallback": final,
            "promoted": promoted, "generated": generated, "failed": failed}  # fmt: skip


def _search(run: steps.Run, decision: dict[str, Any], tell: Callable[[str], None]) -> tuple[list[dict[str, Any]], dict[str, str]]:  # fmt: skip
    """What was found for each candidate, none where the earlier choice still stands; and the errors by candidate."""
    if decision["recheck"]:
        tell("recheck")
        if steps.recheck(run)["stands"]:
            return [], {}
    steps.tune_in_turns(run, lambda candidate: tell(f"tune {candidate}"))
    found, failed = [], {}
    for candidate in decision["candidates"]:
        try:
            found.append(steps.best(run, candidate))
        except HazyError as error:
            failed[candidate] = str(error)
    return found, failed
