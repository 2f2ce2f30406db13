# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""See the stub beside this file for what callers may rely on."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

ctypedef fused Probability:
    float
    double

ctypedef fused Cell:
    uint32_t
    uint64_t

cdef double TWO_TO_52 = 4503599627370496.0  # from there on doubles are integers: adding it rounds, to even as rint does


# --- Alias tables ---------------------------------------------------------------------------------------------------


def fill_alias_cells(const Probability[:, ::1] probabilities, Cell[::1] cells):
    cdef Py_ssize_t n = probabilities.shape[0], k = probabilities.shape[1], context
    cdef double* mass = <double*> malloc(k * sizeof(double))
    cdef int32_t* line = <int32_t*> malloc(k * sizeof(int32_t))
    try:
        if mass == NULL or line == NULL:
            raise MemoryError
        with nogil:
            for context in range(n):
                _pair_up(&probabilities[context, 0], k, mass, line, &cells[context * k])
    finally:
        free(mass)
        free(line)


cdef double _pairwise_sum(const double* values, Py_ssize_t n, Py_ssize_t step) noexcept nogil:
    """In the order in which NumPy adds up along an axis, so that nothing depends on which of the two did it."""
    cdef double total, s0, s1, s2, s3, s4, s5, s6, s7
    cdef Py_ssize_t i, half
    if n < 8:
        total = 0.0
        for i in range(n):
            total += values[i * step]
        return total
    if n > 128:
        half = n // 2
        half -= half % 8
        return _pairwise_sum(values, half, step) + _pairwise_sum(values + half * step, n - half, step)
    s0, s1, s2, s3 = values[0], values[step], values[2 * step], values[3 * step]
    s4, s5, s6, s7 = values[4 * step], values[5 * step], values[6 * step], values[7 * step]
    i = 8
    while i < n - n % 8:
        s0 += values[i * step]
        s1 += values[(i + 1) * step]
        s2 += values[(i + 2) * step]
        s3 += values[(i + 3) * step]
        s4 += values[(i + 4) * step]
        s5 += values[(i + 5) * step]
        s6 += values[(i + 6) * step]
        s7 += values[(i + 7) * step]
        i += 8
    total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    while i < n:
        total += values[i * step]
        i += 1
    return total


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
    total = _pairwise_sum(mass, k, 1)
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


def draw_values(const Cell[::1] cells, Py_ssize_t n_values, const int64_t[::1] context, const uint32_t[::1] words,
                int64_t[::1] values):
    cdef Py_ssize_t i
    with nogil:
        for i in range(context.shape[0]):
            values[i] = _drawn(&cells[context[i] * n_values], n_values, words[i])


cdef inline int64_t _drawn(const Cell* cells, uint64_t k, uint32_t word) noexcept nogil:
    """32 random bits times k: the whole part is the slot, the rest says whether its own value stands.

    By arithmetic, since a choice that cannot be predicted costs several times as much.
    """
    cdef uint64_t place = word * k
    cdef uint32_t chance = <uint32_t> place, slot = <uint32_t> (place >> 32)
    cdef Cell cell = cells[slot]
    if Cell is uint32_t:
        return <uint8_t> (slot + (cell & <uint32_t> -<int32_t> ((chance >> 8) >= (cell >> 8))))
    else:
        return <uint16_t> (slot + (cell & <uint64_t> -<int64_t> (chance >= <uint32_t> (cell >> 32))))
