"""Free and personal text: never learned, replaced by a stated policy.

`placeholder`: a neutral numbered filler of about the source's lengths. `words`: random words from a small neutral
list, as many as the source's texts have. `null`: nothing (an empty text where the column admits no null).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hazy_pipeline.encode.arrays import Integers, Mask, with_nulls
from hazy_pipeline.encode.column import GeneratedEncoder, common_from_json, kind_of, lowest_rank
from hazy_pipeline.encode.identifier import running_values
from hazy_pipeline.errors import ConfigurationError
from hazy_pipeline.schema import Column

Policy = Literal["placeholder", "null", "words"]

N_QUANTILES = 21
_LONGEST = 10_000  # characters, or words, that a filler has at most
_WORDS = (  # noqa: SIM905
    "about after again all almost along already also although always and another any around as at away back be "
    "because been before being best better between both bring but by call came can change come could day did do "
    "done down each early end even every far few find first for from get give go good great had has have here how "
    "if in into it its just keep kind know large last late left less let like line little long look made make "
    "many may more most move much must name near need never new next no not now number of off often old on once "
    "one only open or order other our out over own part people place plan point put read right room run same see "
    "set short show side small some soon start still such take than that the then there these they thing this "
    "time to today together too turn two under until up use very want was way well were what when where which "
    "while who why will with without word work would write year yes you"
).split()


@dataclass(frozen=True)
class TextEncoder(GeneratedEncoder):
    encoding: ClassVar[str] = "text"

    policy: Policy
    nullable: bool
    lengths: tuple[int, ...] = ()  # quantiles of the characters per text
    words: tuple[int, ...] = ()  # quantiles of the words per text

    def generate(self, n_rows: int, *, start: int, rng: np.random.Generator) -> pa.Array:
        if self.null_share >= 1 or (self.policy == "null" and self.nullable):
            return pa.nulls(n_rows, self.arrow_type)
        if not is_text(self.arrow_type):
            numbers = np.arange(start + 1, start + n_rows + 1, dtype=np.int64)
            values = running_values(numbers, self.arrow_type, self.name)
        elif self.policy == "null":
            values = pa.array([""], self.arrow_type).take(pa.array(np.zeros(n_rows, dtype=np.int32)))
        elif self.policy == "words":
            values = _random_words(_from_quantiles(self.words, n_rows, rng), rng).cast(self.arrow_type)
        else:
            values = _placeholders(_from_quantiles(self.lengths, n_rows, rng), start).cast(self.arrow_type)
        return with_nulls(values, self.null_share, rng)

    def to_json(self) -> dict[str, Any]:
        return {**self._common_json(), "policy": self.policy, "nullable": self.nullable,
                "lengths": list(self.lengths), "words": list(self.words)}  # fmt: skip

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> "TextEncoder":
        return cls(**common_from_json(state), policy=state["policy"], nullable=state["nullable"],
                   lengths=tuple(state["lengths"]), words=tuple(state["words"]))  # fmt: skip


def is_text(storage: pa.DataType) -> bool:
    return bool(pa.types.is_string(storage) or pa.types.is_large_string(storage))


def _from_quantiles(quantiles: tuple[int, ...], n: int, rng: np.random.Generator) -> Integers:
    drawn = np.interp(rng.random(n), np.linspace(0, 1, len(quantiles)), quantiles)
    return np.clip(np.rint(drawn), 0, _LONGEST).astype(np.int64)


def _placeholders(lengths: Integers, start: int) -> pa.Array:
    """`text <running number>`, filled up to the length by the word `text` where there is room for it."""
    numbers = pa.array(np.arange(start + 1, start + len(lengths) + 1, dtype=np.int64)).cast(pa.string())
    heads = pc.binary_join_element_wise("text", numbers, " ")
    room = lengths - pc.utf8_length(heads).to_numpy(zero_copy_only=False)
    repeats = np.clip(room // len(" text"), 0, None)
    fillers = pa.array([" text" * times for times in range(int(repeats.max(initial=0)) + 1)], pa.large_string())
    heads, nothing = heads.cast(pa.large_string()), pa.scalar("", pa.large_string())
    return pc.binary_join_element_wise(heads, fillers.take(pa.array(repeats)), nothing)


def _random_words(counts: Integers, rng: np.random.Generator) -> pa.Array:
    counts = np.maximum(counts, 1)
    chosen = pa.array(_WORDS, pa.string()).take(pa.array(rng.integers(0, len(_WORDS), counts.sum())))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), chosen), " ")


class TextFitter:
    """Histograms of the texts' lengths in characters and words."""

    def __init__(self, table: str, column: Column, min_rows: int, policy: str) -> None:
        if policy not in ("placeholder", "null", "words"):
            raise ConfigurationError(f"text policy {policy!r} is not one of placeholder, null, words")
        self._column, self._min_rows, self._policy = column, min_rows, cast("Policy", policy)
        self._n_rows = self._n_nulls = 0
        self._lengths = np.zeros(_LONGEST + 1, dtype=np.int64)
        self._words = np.zeros(_LONGEST + 1, dtype=np.int64)

    def update(self, array: pa.Array, sampled: Mask) -> None:
        self._n_rows += len(array)
        self._n_nulls += array.null_count
        array = array.drop_null()
        if not is_text(array.type) or not len(array):
            return
        for histogram, numbers in (
            (self._lengths, pc.utf8_length(array)),
            (self._words, pc.count_substring_regex(array, r"\S+")),
        ):
            found = np.minimum(numbers.to_numpy(zero_copy_only=False), _LONGEST)
            histogram += np.bincount(found, minlength=_LONGEST + 1)

    def thin_out(self, kept: Mask) -> None:
        """Nothing is sampled."""

    def finish(self) -> TextEncoder:
        return TextEncoder(
            name=self._column.name, kind=kind_of(self._column), storage=self._column.storage,
            null_share=self._n_nulls / self._n_rows, n_rows=self._n_rows, policy=self._policy,
            nullable=self._column.nullable, lengths=self._quantiles(self._lengths), words=self._quantiles(self._words),
        )  # fmt: skip

    def _quantiles(self, histogram: Integers) -> tuple[int, ...]:
        """Quantiles at equal steps of rank, the first and last of them no rarer than min_rows rows."""
        n_values = int(histogram.sum())
        if not n_values:
            return (0,)
        rank = lowest_rank(n_values, self._min_rows)
        ranks = np.linspace(rank, n_values - rank + 1, N_QUANTILES)
        found = np.searchsorted(np.cumsum(histogram), np.rint(ranks), side="left")
        return tuple(int(value) for value in found)
