"""An estimate in sentences: what dominates, what decides it, and what to bound to save how much."""

from hazy_pipeline.estimate.estimator import duration, memory
from hazy_pipeline.estimate.forecast import CandidateForecast, Forecast, Influence
from hazy_pipeline.search_spaces import in_words

BUSY = 1.5  # wall-clock seconds per processor second from which others are said to use the cores


def title(candidate: str) -> str:
    return in_words(candidate, capital=True)


def about(seconds: float) -> str:
    """A length of time that is an estimate."""
    told = duration(seconds)
    return told if told.startswith("under") else f"about {told}"


def speed(made: CandidateForecast) -> str:
    """Rows per second, in millions: of the first configuration, or of the most and the least that the search may choose."""
    most, least = (f"{rate / 1e6:.2g}" for rate in (made.rows_per_second, made.least_rows_per_second))
    return most if most == least else f"{least}-{most}"


def of_candidate(made: CandidateForecast, forecast: Forecast) -> str:
    """Two or three sentences on one candidate."""
    name = title(made.candidate)
    if made.excluded:
        return f"{name} is ruled out beforehand: {made.excluded}."
    spread = ""
    if made.dearest.seconds > 1.5 * made.cheapest.seconds and made.dearest.seconds >= 2:
        spread = f" ({duration(made.cheapest.seconds)} to {duration(made.dearest.seconds)}, as it is configured)"
    said = [
        f"{name}: a trial takes {about(made.trial.seconds)}{spread} and up to {memory(made.dearest.bytes)}; "
        f"training it on all {forecast.n_train:,} rows {_at_most(made)}{duration(made.training.seconds)}"
    ]
    if made.influence:
        said.append(_influence(made.influence))
    if made.gpu:
        said.append(_gpu(forecast))
    if made.failed:
        said.append(f"A small fit of it failed: {made.failed.rstrip('.')}")
    if not made.measured:
        said.append("No fit of it was timed here: this follows from its usual costs and the speed of this machine")
    return ". ".join(said) + "."


def of_whole(forecast: Forecast) -> list[str]:
    """What the run takes, what dominates it, and what saves the most."""
    usable = [made for made in forecast.candidates if not made.excluded]
    if not usable:
        return ["No candidate can be run here within the bounds; see the reasons above."]
    said = [_total(forecast)]
    heaviest = max(usable, key=lambda made: made.search.cpu_seconds)
    total = sum(made.search.cpu_seconds for made in usable)
    share = heaviest.search.cpu_seconds / max(total, 1e-9)
    if len(usable) > 1 and share > 0.6 and forecast.search_wanted > 10:
        others = total - heaviest.search.cpu_seconds
        said.append(
            f"{title(heaviest.candidate)} is {share:.0%} of the search's work: without it all other trials take "
            f"{duration(forecast.search_wanted * others / total)}."
        )
    if forecast.search_wanted > 1.1 * forecast.search_bound:
        made = sum(min(each.trials, max(int(forecast.search_bound / each.trial.seconds), 1)) for each in usable)
        said.append(
            f"All {forecast.trials} trials would take {about(forecast.search_wanted)}; tuning.seconds ends the "
            f"search after {duration(forecast.search_bound)}, so expect about {made} of them, the last ones cut short."
        )
    low, high = forecast.later_run
    said.append(
        f"A later automatic run, which tries the earlier winner first and searches only a little, takes "
        f"{_range(low, high)}."
    )
    if forecast.busy > BUSY:
        said.append(
            f"Other work uses the processors now: a second of work takes {forecast.busy:.1f} s. On an idle machine all "
            "of this is that many times shorter."
        )
    return said


def rests_on(forecast: Forecast, earlier_runs: int = 0) -> str:
    """What the figures were predicted from."""
    timed = any(made.measured for made in forecast.candidates)
    if earlier_runs:
        return (
            "earlier runs of this Generator and timed fits on this machine"
            if timed
            else "earlier runs of this Generator"
        )
    return "small timed fits on this machine and these rows" if timed else "usual costs, for nothing was timed here yet"


def _total(forecast: Forecast) -> str:
    return (
        f"A first run takes {_range(*forecast.first_run)}: {duration(forecast.search)} of search, the training of the "
        f"winner, and {duration(forecast.judgement.seconds)} for the judgement, on {forecast.cores} "
        f"{'core' if forecast.cores == 1 else 'cores'}."
    )


def _range(low: float, high: float) -> str:
    """One length of time where two are nearly the same."""
    if high < 1.3 * low or duration(low) == duration(high):
        return about(high)
    return f"about {duration(low)} to {duration(high)}, depending on the winner"


def _at_most(made: CandidateForecast) -> str:
    return "at most " if made.influence and made.influence.parameter == "epochs" else ""


def _influence(found: Influence) -> str:
    cheap, dear = (f"{value:g}" if isinstance(value, float) else str(value) for value in (found.cheap, found.dear))
    return f"Its cost hangs most on {found.parameter}: with {dear} a fit takes {found.times:.1f} times as long as with {cheap}"


def _gpu(forecast: Forecast) -> str:
    if forecast.has_gpu:
        return "It trains on the GPU of this machine, one training at a time"
    return "There is no GPU here, so this is its time on the processor; it would use a GPU where there is one"


def lines(forecast: Forecast) -> list[str]:
    """Everything in plain text, a line each; for logs."""
    head = f"What a run of {forecast.generator} will cost ({forecast.n_rows:,} rows, {forecast.n_columns} columns to learn):"
    return [head, *(of_candidate(made, forecast) for made in forecast.candidates), *of_whole(forecast)]
