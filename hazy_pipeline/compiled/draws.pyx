# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Values drawn and rows counted by context, and numbers to segments and back. The stub says what callers may rely on."""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from hazy_pipeline.compiled.numbers cimport _pairwise_sum

ctypedef fused Probability:
    float
    double

ctypedef fused Count:
    int32_t
    int64_t

ctypedef fused Group:
    uint16_t
    int64_t

ctypedef fused Cell:
    uint32_t
    uint64_t

cdef enum:
    MAX_AXES = 64  # of a context; each has two groups at least
    SIDE_BY_SIDE = 16  # values that are looked up
    TOGETHER = 512  # rows whose draws go side by side: few enough for the stack and for a core's nearest cache

cdef double TWO_TO_52 = 4503599627370496.0  # from there on doubles are integers: adding it rounds, to even as rint does


# --- Alias tables and counts ----------------------------------------------------------------------------------------


def fill_alias_cells(const Probability[:, ::1] probabilities, Cell[::1] cells):
    cdef Py_ssize_t n = probabilities.shape[0], k = probabilities.shape[1], context
    cdef double* mass = <double*> malloc(k * sizeof(double))
    cdef int32_t* line = <int32_t*> malloc(k * sizeof(int32_t))
    try:
        if mass == NULL or line == NULL:
            raise MemoryError
        with nogil:
            if k == 2:  # of so few values, with their number known to the compiler, in half the time
                for context in range(n):
                    _pair_up(&probabilities[context, 0], 2, mass, line, &cells[context * 2])
            elif k == 3:
                for context in range(n):
                    _pair_up(&probabilities[context, 0], 3, mass, line, &cells[context * 3])
            else:
                for context in range(n):
                    _pair_up(&probabilities[context, 0], k, mass, line, &cells[context * k])
    finally:
        free(mass)
        free(line)


cdef inline void _pair_up(const Probability* p, Py_ssize_t k, double* mass, int32_t* line, Cell* cells) noexcept nogil:
    """Fill up every light value of one context from a heavy one.

    `line` has the light values, then the heavy ones: one that grows light is next in line where it stands.
    """
    cdef double total, unit, own, left, scale
    cdef Cell certain, threshold
    cdef int bits
    cdef Py_ssize_t i, n_light = 0, taking = 0, giving, heavy, taker, giver
    if Cell is uint32_t:
        scale, bits, certain = 16777216.0, 8, <uint32_t> 0xFFFFFF << 8
    else:
        scale, bits, certain = 4294967296.0, 32, <uint64_t> 0xFFFFFFFF << 32
    for i in range(k):
        cells[i] = certain
        mass[i] = p[i]
    total = _pairwise_sum(mass, k)
    if not total > 0:
        return
    unit = k / total
    for i in range(k):
        mass[i] *= unit
        n_light += mass[i] < 1.0
    if n_light == 0 or n_light == k:
        return
    heavy = n_light
    for i in range(k):  # without a choice that cannot be predicted: both places are written, one of them counts
        if mass[i] < 1.0:
            line[taking] = <int32_t> i
            taking += 1
        else:
            line[heavy] = <int32_t> i
            heavy += 1
    taking, giving = 0, n_light
    giver = line[giving]
    left = mass[giver]
    while True:
        taker = line[taking]
        own = mass[taker]
        threshold = <Cell> <int64_t> ((own * scale + TWO_TO_52) - TWO_TO_52)
        threshold = min(threshold, certain >> bits)
        if Cell is uint32_t:
            cells[taker] = threshold << 8 | <uint8_t> (giver - taker)
        else:
            cells[taker] = threshold << 32 | <uint16_t> (giver - taker)
        left = left - (1.0 - own)
        taking += 1
        if left < 1.0:
            mass[giver] = left
            giving += 1
            if giving >= k:
                return
            giver = line[giving]
            left = mass[giver]
        if taking >= giving:
            return


@cython.final
cdef class _Axes:
    """Where the rows' groups lie on every axis of a context; the arrays themselves are the caller's to keep."""

    cdef const int64_t** groups

    def __cinit__(self, list groups, Py_ssize_t n_rows):
        cdef const int64_t[::1] axis
        cdef Py_ssize_t j
        self.groups = <const int64_t**> malloc(max(len(groups), 1) * sizeof(int64_t*))
        if self.groups == NULL:
            raise MemoryError
        for j in range(len(groups)):
            axis = groups[j]
            if axis.shape[0] < n_rows:
                raise ValueError(f"{axis.shape[0]} groups of {n_rows} rows")
            self.groups[j] = &axis[0] if n_rows else NULL

    def __dealloc__(self):
        free(self.groups)


def draw_values(const Cell[::1] cells, Py_ssize_t n_values, list groups, const int64_t[::1] sizes,
                const uint32_t[::1] words, const int64_t[::1] first, const int64_t[::1] above, int64_t[::1] values):
    cdef Py_ssize_t n = words.shape[0], n_axes = len(groups), i, size, start = 0
    cdef bint is_inside = True
    cdef _Axes axes = _Axes(groups, n)
    with nogil:
        while start < n:
            size = min(TOGETHER, n - start)
            _draw_some(&cells[0], cells.shape[0] - 1, n_values, axes.groups, n_axes, sizes, start, size, &words[start],
                       &values[start])
            if first is not None:
                for i in range(start, start + size):
                    if above[i] >= first.shape[0]:
                        is_inside = False
                        break
                    values[i] += first[above[i]]
            start += size
    if not is_inside:
        raise IndexError("a group that the column does not have")


cdef void _draw_some(const Cell* cells, int64_t last, uint64_t k, const int64_t** axes, Py_ssize_t n_axes,
                     const int64_t[::1] sizes, Py_ssize_t start, Py_ssize_t n, const uint32_t* words,
                     int64_t* values) noexcept nogil:
    """At most `TOGETHER` rows, in loops of one thing each: that which waits for cells has the more of them under way.

    32 random bits times k: the whole part is the slot, the rest says whether its own value stands. By arithmetic, since a
    choice that cannot be predicted costs several times as much.
    """
    cdef int64_t at[TOGETHER]
    cdef uint32_t slot[TOGETHER]
    cdef uint32_t chance[TOGETHER]
    cdef Cell cell[TOGETHER]
    cdef const int64_t* group
    cdef Py_ssize_t i, j
    cdef uint64_t place
    cdef int64_t size
    for i in range(n):
        at[i] = axes[0][start + i] if n_axes else 0
    for j in range(1, n_axes):
        group, size = axes[j] + start, sizes[j]
        for i in range(n):
            at[i] = at[i] * size + group[i]
    for i in range(n):
        place = words[i] * k
        chance[i], slot[i] = <uint32_t> place, <uint32_t> (place >> 32)
        at[i] = at[i] * <int64_t> k + slot[i]
    for i in range(n):
        cell[i] = cells[min(at[i], last)]
    for i in range(n):
        if Cell is uint32_t:
            values[i] = <uint8_t> (slot[i] + (cell[i] & <uint32_t> -<int32_t> ((chance[i] >> 8) >= (cell[i] >> 8))))
        else:
            values[i] = <uint16_t> (slot[i] + (cell[i] & <uint64_t> -<int64_t> (chance[i] >= <uint32_t> (cell[i] >> 32))))


def draw_once(const float[:, ::1] probabilities, const int64_t[::1] contexts, const uint32_t[::1] words,
              const int64_t[::1] first, const int64_t[::1] above, int64_t[::1] values):
    cdef Py_ssize_t n = contexts.shape[0], k = probabilities.shape[1], i, x
    cdef bint is_inside = True
    cdef const float* p
    cdef double total, most, share = 1.0 / 4294967296.0
    cdef int64_t value
    with nogil:
        for i in range(n):
            if not 0 <= contexts[i] < probabilities.shape[0]:
                is_inside = False
                break
            p, total, value = &probabilities[contexts[i], 0], 0.0, 0
            for x in range(k):
                total += p[x]
            if total > 0:
                most, total = words[i] * share * total, 0.0
                for x in range(k - 1):
                    total += p[x]
                    value += most >= total
            else:
                value = (<uint64_t> words[i] * k) >> 32
            if first is not None:
                if above[i] >= first.shape[0]:
                    is_inside = False
                    break
                value += first[above[i]]
            values[i] = value
    if not is_inside:
        raise IndexError("a context that the table does not have, or a group that the column does not")


def find_contexts(list groups, const int64_t[::1] sizes, int64_t[::1] contexts, Count[::1] counts):
    cdef Py_ssize_t n = contexts.shape[0], n_axes = len(groups), i, j
    cdef int64_t at
    cdef bint is_inside = True
    cdef _Axes axes = _Axes(groups, n)
    with nogil:
        for i in range(n):
            at = axes.groups[0][i] if n_axes else 0
            for j in range(1, n_axes):
                at = at * sizes[j] + axes.groups[j][i]
            contexts[i] = at
        for i in range(n):
            if not 0 <= contexts[i] < counts.shape[0]:
                is_inside = False
                break
            counts[contexts[i]] += 1
    if not is_inside:
        raise IndexError("a group that the column does not have")


def count_rows(list groups, const int64_t[::1] sizes, const Group[::1] node, const int64_t[::1] first,
               const Group[::1] above, Count[:, ::1] counts):
    cdef Py_ssize_t n = node.shape[0], n_axes = len(groups), start = 0, size, i, j
    cdef int64_t at[TOGETHER]
    cdef const Group* group
    cdef const Group[::1] axis
    cdef int64_t n_groups, k = counts.shape[1], n_cells = counts.shape[0] * counts.shape[1]
    cdef bint is_inside = True
    cdef Count* flat = &counts[0, 0]
    cdef const Group* axes[MAX_AXES]
    if n_axes > MAX_AXES:
        raise ValueError(f"{n_axes} axes; at most {MAX_AXES}")
    for j in range(n_axes):
        axis = groups[j]
        if axis.shape[0] < n:
            raise ValueError(f"{axis.shape[0]} groups of {n} rows")
        axes[j] = &axis[0] if n else NULL
    with nogil:
        while start < n:
            size = min(TOGETHER, n - start)
            for i in range(size):
                at[i] = axes[0][start + i] if n_axes else 0
            for j in range(1, n_axes):
                group, n_groups = axes[j] + start, sizes[j]
                for i in range(size):
                    at[i] = at[i] * n_groups + group[i]
            for i in range(size):
                at[i] = at[i] * k + node[start + i]
            if first is not None:
                for i in range(size):
                    at[i] -= first[above[start + i]]
            for i in range(size):
                if not 0 <= at[i] < n_cells:
                    is_inside = False
                    break
                flat[at[i]] += 1
            start += size
    if not is_inside:
        raise IndexError("a group that the column does not have")


# --- Numeric columns ------------------------------------------------------------------------------------------------


def find_segments(const double[::1] values, double low, double high, const double[::1] ends, const int64_t[::1] ranges,
                  const double[::1] single, const int64_t[::1] singles, int64_t null_state, int64_t[::1] states):
    cdef Py_ssize_t n = values.shape[0], start = 0, size, i
    cdef double inside[SIDE_BY_SIDE]
    cdef Py_ssize_t place[SIDE_BY_SIDE]
    with nogil:
        for i in range(SIDE_BY_SIDE):
            inside[i] = low
        while start < n:
            size = min(SIDE_BY_SIDE, n - start)
            for i in range(size):
                inside[i] = min(max(values[start + i], low), high)
            _count_at_most(ends, inside, place)
            for i in range(size):
                states[start + i] = ranges[place[i]]
            if single.shape[0]:
                _count_at_most(single, inside, place)
                for i in range(size):
                    if place[i] and single[place[i] - 1] == inside[i]:
                        states[start + i] = singles[place[i] - 1]
            for i in range(start, start + size):
                if values[i] != values[i]:
                    states[i] = null_state if null_state >= 0 else ranges[ends.shape[0]]
            start += size


def spread(const int64_t[::1] states, const double[::1] low, const double[::1] part, bint is_half,
           const double[::1] random, double[::1] values):
    cdef Py_ssize_t i, state, last = low.shape[0] - 1
    cdef double beyond
    with nogil:
        for i in range(states.shape[0]):
            state = min(states[i], last)
            beyond = part[state] * random[i]
            values[i] = low[state] + beyond
            if is_half:
                values[i] += beyond


cdef inline void _count_at_most(const double[::1] limits, const double* values, Py_ssize_t* n_at_most) noexcept nogil:
    """How many of the rising limits are at most each value: by halves, without a choice that cannot be predicted.

    Side by side, since every step waits for the one before.
    """
    cdef Py_ssize_t n = limits.shape[0], half, i
    for i in range(SIDE_BY_SIDE):
        n_at_most[i] = 0
    if n == 0:
        return
    while n > 1:
        half = n >> 1
        for i in range(SIDE_BY_SIDE):
            n_at_most[i] += half & -<Py_ssize_t> (limits[n_at_most[i] + half - 1] <= values[i])
        n -= half
    for i in range(SIDE_BY_SIDE):
        n_at_most[i] += limits[n_at_most[i]] <= values[i]
