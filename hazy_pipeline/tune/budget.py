"""How one budget becomes the share of each candidate and each worker."""


def trials_per_candidate(trials: int, candidates: list[str], fixed: frozenset[str] = frozenset()) -> dict[str, int]:
    """Split `trials` evenly, at least one each; a candidate whose every parameter is fixed needs only one."""
    shares = dict.fromkeys(candidates, 1)
    left = trials - len(candidates)
    tunable = [name for name in candidates if name not in fixed]
    for position in range(max(left, 0) if tunable else 0):
        shares[tunable[position % len(tunable)]] += 1
    return shares


def slots_of(worker: int, *, workers: int, trials: int) -> range:
    """The trials (numbered from 0) that this worker alone is responsible for, so that no trial is made twice."""
    return range(worker, trials, workers)
