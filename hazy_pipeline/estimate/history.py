"""What earlier runs teach: their observations, and by how much their searches were misjudged."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hazy_pipeline.estimate.estimator import Estimator
from hazy_pipeline.estimate.model import Machine, Observation

MOST_OBSERVATIONS = 60  # newest kept, so that records do not grow for ever


@dataclass(frozen=True)
class History:
    """`corrected`: how many times as long as predicted each candidate's searches took."""

    observations: tuple[Observation, ...] = ()
    interpreters: Mapping[str, int] = field(default_factory=dict)
    corrected: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Sequence[Mapping[str, Any]], machine: Machine) -> "History":
        """`records`: what runs wrote (`record.costs`), newest first; those of other machines tell nothing here."""
        own = [record for record in records if _same(Machine(**record["estimator"]["machine"]), machine)]
        if not own:
            return cls()
        newest = Estimator.from_json(own[0]["estimator"])  # it holds what its own history taught
        return cls(newest.observations[-MOST_OBSERVATIONS:], newest.interpreters, _corrections(own))

    def covers(self, candidates: Sequence[str]) -> bool:
        """Whether a fit of every candidate and an evaluation were observed, so that no probe is needed."""
        fitted = {seen.candidate for seen in self.observations if seen.task == "fit"}
        return set(candidates) <= fitted and any(seen.task == "evaluate" for seen in self.observations)


def _same(one: Machine, other: Machine) -> bool:
    return (one.cores, one.gpu) == (other.cores, other.gpu) and 0.5 < one.bytes / max(other.bytes, 1) < 2


def _corrections(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The geometric mean of actual over predicted, drawn towards 1 as far as one more such run would."""
    logs: dict[str, list[float]] = defaultdict(list)
    for record in records:
        for paid in record["paid"]:
            if paid["what"] == "search" and paid["predicted"] > 0 and paid["actual"] > 0:
                before = record["forecast"]["corrected"].get(paid["candidate"], 1.0)
                logs[paid["candidate"]].append(math.log(paid["actual"] / paid["predicted"] * before))
    return {name: math.exp(sum(found) / (len(found) + 1)) for name, found in logs.items()}
