# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Conditional probability tables: `synthesizers.bayesian_network.tables`, compiled. The stub says what callers may rely on.

Tables are (contexts, digits), a context being a row-major number of the node's own coarser group and its parents' groups.
Few contexts hold rows: only there do counts and weights matter, the rest follows from the tables of pairs.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcpy, memset

from hazy_pipeline.compiled.numbers cimport _pairwise_sum


ctypedef fused Count:
    int32_t
    int64_t

cdef enum:
    START, COUNTS, FACTOR, FITTED, EXPECTED, UPDATE, USED, N_USED, ALLOWED, N_WITH, ALONE, AXIS, CONTEXT, WEIGHT, PLACE
    PROBABILITIES, COMMON, N_BLOCKS


@cython.final
cdef class Blocks:
    """Memory by number, which the next call takes again: the system takes longer to give fresh pages than a loop to fill them."""

    cdef void* block[N_BLOCKS]
    cdef size_t size[N_BLOCKS]
    cdef size_t least

    def __cinit__(self, size_t least=0):
        """`least`: bytes of a block."""
        self.least = max(least, 4096)

    cdef void* take(self, int number, size_t n_bytes) except NULL:
        """At least so many bytes, of whatever was there before."""
        cdef size_t held = self.size[number]
        if n_bytes > held or self.block[number] == NULL:
            free(self.block[number])
            self.size[number] = 0
            n_bytes = max(n_bytes, 2 * held, self.least)  # pages that nobody touches cost nothing
            self.block[number] = malloc(n_bytes)
            if self.block[number] == NULL:
                raise MemoryError
            self.size[number] = n_bytes
        return self.block[number]

    cdef void* zeros(self, int number, size_t n_bytes) except NULL:
        return memset(self.take(number, n_bytes), 0, n_bytes)

    def __dealloc__(self):
        cdef int number
        for number in range(N_BLOCKS):
            free(self.block[number])


@cython.final
cdef class _Pairs:
    """The tables of the node and each of its parents: (own groups, parent's groups, digits), one after the other."""

    cdef const int64_t[::1] sizes  # own groups, then the groups of each parent
    cdef Py_ssize_t n, n_own, n_digits, n_contexts
    cdef Py_ssize_t* start  # where each begins
    cdef double* counts  # rows
    cdef double* factor  # what a distribution is to be multiplied by, unless nothing is fitted or impossible
    cdef double* fitted  # the factors before impossible combinations made some of them 0
    cdef uint8_t* allowed  # 0 where the combination is impossible, else 1; NULL where all are possible
    cdef double* expected  # of the one at work; zeros between
    cdef double* update  # of the one at work: the latest round's part of its factors
    cdef Py_ssize_t* used  # those of each one's rows in which anything is expected
    cdef Py_ssize_t* n_used
    cdef Blocks blocks

    def __cinit__(self, const int64_t[::1] sizes, Py_ssize_t n_digits, Blocks blocks):
        cdef Py_ssize_t j, longest = 0
        self.blocks = blocks
        self.sizes, self.n, self.n_own, self.n_digits = sizes, sizes.shape[0] - 1, sizes[0], n_digits
        self.start = <Py_ssize_t*> blocks.take(START, (self.n + 1) * sizeof(Py_ssize_t))
        self.n_contexts, self.start[0] = self.n_own, 0
        for j in range(self.n):
            self.n_contexts *= sizes[j + 1]
            self.start[j + 1] = self.start[j] + self.n_own * sizes[j + 1] * n_digits
            longest = max(longest, self.start[j + 1] - self.start[j])
        self.counts = <double*> blocks.zeros(COUNTS, self.start[self.n] * sizeof(double))
        self.factor = <double*> blocks.take(FACTOR, self.start[self.n] * sizeof(double))
        self.expected = <double*> blocks.zeros(EXPECTED, longest * sizeof(double))
        self.update = <double*> blocks.take(UPDATE, longest * sizeof(double))
        self.used = <Py_ssize_t*> blocks.take(USED, self.start[self.n] // n_digits * sizeof(Py_ssize_t))
        self.n_used = <Py_ssize_t*> blocks.take(N_USED, self.n * sizeof(Py_ssize_t))

    cdef void fit(self, _Occupied rows, double* p, int rounds, double strength) noexcept nogil:
        if self.n_digits == 2:
            self.fit_digits(rows, p, rounds, strength, 2)
        elif self.n_digits == 3:
            self.fit_digits(rows, p, rounds, strength, 3)
        else:
            self.fit_digits(rows, p, rounds, strength, self.n_digits)

    cdef inline void fit_digits(self, _Occupied rows, double* p, int rounds, double strength, Py_ssize_t k) noexcept nogil:
        """Factors by which the distributions, weighted by rows, meet the counts of every pair in turn.

        `p`: of the contexts that hold rows; on return they lack the last factors. Each pass multiplies by the factors of
        one pair and adds up what the next pair is to expect.
        """
        cdef Py_ssize_t j, i, x, last = -1
        cdef double mass, scale, weight
        cdef double* here
        cdef double* factor
        cdef double* expected
        cdef int number
        for number in range(rounds):
            for j in range(self.n - 1, -1, -1):
                for i in range(rows.n):
                    here, weight, scale = p + i * k, rows.weight[i], 1.0
                    expected = self.expected + (rows.place[i * self.n + j] - self.start[j])
                    if last >= 0:
                        factor = self.update + (rows.place[i * self.n + last] - self.start[last])
                        mass = 0.0
                        for x in range(k):
                            here[x] *= factor[x]
                            mass += here[x]
                        scale = 1.0 / max(mass, 1e-300)
                    for x in range(k):
                        here[x] *= scale
                        expected[x] += weight * here[x]
                self.lift(j, strength, number == 0, k)
                last = j

    cdef inline void lift(self, Py_ssize_t j, double strength, bint is_first, Py_ssize_t k) noexcept nogil:
        """The factors by which what is expected meets the counts, held back by `strength` rows.

        What is expected is 0 again on return. The first time finds out in which groups anything is, which may be few.
        """
        cdef Py_ssize_t x, i, row
        cdef double counted, total, hold, scale, share, expected, ratio
        cdef const double* counts
        cdef double* found
        cdef double* factor
        cdef double* update
        cdef Py_ssize_t* used = self.used + self.start[j] // k
        if is_first:
            self.n_used[j] = 0
            for row in range(self.n_own * self.sizes[j + 1]):
                total, factor = 0.0, self.factor + self.start[j] + row * k
                for x in range(k):
                    total += self.expected[row * k + x]
                    factor[x] = 1.0
                if total > 0:
                    used[self.n_used[j]] = row
                    self.n_used[j] += 1
        for i in range(self.n_used[j]):
            row = used[i]
            counts, factor = self.counts + self.start[j] + row * k, self.factor + self.start[j] + row * k
            found, update = self.expected + row * k, self.update + row * k
            counted = total = 0.0
            for x in range(k):
                counted += counts[x]
                total += found[x]
            hold, scale = strength / max(counted, 1.0), counted / max(total, 1e-9)
            share = 1.0 / (1.0 + hold)
            for x in range(k):
                expected, found[x] = found[x] * scale, 0.0
                ratio = (counts[x] / max(expected, 1e-9) + hold) * share
                update[x] = ratio if expected > 1e-9 else 1.0
                factor[x] *= update[x]

    cdef int exclude(self, Py_ssize_t min_rows, double certain_zero) except -1:
        """Mark the impossible combinations."""
        cdef Py_ssize_t j
        cdef bint is_any = False
        cdef Py_ssize_t* n_with = <Py_ssize_t*> self.blocks.take(N_WITH, self.n_digits * sizeof(Py_ssize_t))
        cdef double* alone = <double*> self.blocks.take(ALONE, self.n_digits * sizeof(double))
        self.allowed = <uint8_t*> self.blocks.take(ALLOWED, self.start[self.n])
        with nogil:
            memset(self.allowed, 1, self.start[self.n])
            for j in range(self.n):
                is_any |= self.find_impossible(j, min_rows, certain_zero, n_with, alone)
        if not is_any:
            self.allowed = NULL
        return 0

    cdef int forbid(self, bint is_fitted) except -1:
        """Make the factors of impossible combinations 0."""
        cdef Py_ssize_t i
        if self.allowed == NULL:
            return 0
        if not is_fitted:
            for i in range(self.start[self.n]):
                self.factor[i] = 1.0
        self.fitted = self.factor
        self.factor = <double*> self.blocks.take(FITTED, self.start[self.n] * sizeof(double))
        for i in range(self.start[self.n]):
            self.factor[i] = self.fitted[i] * self.allowed[i]
        return 0

    cdef void exclude_in_turn(self, const Py_ssize_t* axis, const double* source, double* into) noexcept nogil:
        """A context to which the pairs together leave no value: each excludes what it can of what those before it left."""
        cdef Py_ssize_t j, x, at, k = self.n_digits
        cdef double mass = 0.0, left
        for x in range(k):
            into[x] = source[x]
        for j in range(self.n):
            at = self.start[j] + (axis[0] * self.sizes[j + 1] + axis[j + 1]) * k
            for x in range(k):
                into[x] *= self.fitted[at + x]
        for x in range(k):
            mass += into[x]
        for x in range(k):
            into[x] /= max(mass, 1e-300)
        for j in range(self.n - 1, -1, -1):
            at, left = self.start[j] + (axis[0] * self.sizes[j + 1] + axis[j + 1]) * k, 0.0
            for x in range(k):
                left += into[x] * self.allowed[at + x]
            if left > 0:
                for x in range(k):
                    into[x] = into[x] * self.allowed[at + x] / left

    cdef bint find_impossible(self, Py_ssize_t j, Py_ssize_t min_rows, double certain_zero, Py_ssize_t* n_with,
                                    double* alone) noexcept nogil:
        """Mark the impossible combinations with a parent; whether there are any. See `_possible`.

        `n_with`, `alone`: room for each digit's number of partners and of rows.
        """
        cdef Py_ssize_t own, x, k = self.n_digits, size = self.sizes[j + 1], row, n_seen, n_pairs = 0
        cdef double rows = 0.0, here, n
        cdef bint determined = True, determining = True
        cdef const double* counts = self.counts + self.start[j]
        cdef uint8_t* allowed = self.allowed + self.start[j]
        cdef double* total = self.update  # rows per parent's group
        cdef double* unseen = self.expected  # rows that would be expected where none was seen
        for own in range(self.n_own):
            for x in range(k):
                alone[x], n_with[x] = 0.0, 0
            here = 0.0
            for row in range(own * size, (own + 1) * size):
                total[row], n_seen = 0.0, 0
                for x in range(k):
                    n = counts[row * k + x]
                    total[row] += n
                    alone[x] += n
                    n_with[x] += n > 0
                    n_seen += n > 0
                here += total[row]
                n_pairs += n_seen > 0
                determined = determined and n_seen <= 1
            if here == 0:
                continue
            rows += here
            for row in range(own * size, (own + 1) * size):
                if total[row] < certain_zero:  # nor can more be expected
                    continue
                n_seen = 0
                for x in range(k):
                    n = counts[row * k + x]
                    n_seen += n > 0
                    allowed[row * k + x] &= (n > 0) | (total[row] * alone[x] < certain_zero * here)
                if n_seen == 1:
                    for x in range(k):
                        unseen[x] = total[row] * alone[x] / here if counts[row * k + x] == 0 else 0.0
                    if _sum_over_digits(unseen, k, self.n_own * size == 1) >= certain_zero:
                        for x in range(k):
                            allowed[row * k + x] &= counts[row * k + x] > 0
            for x in range(k):
                determining = determining and n_with[x] <= 1
                if n_with[x] == 1 and alone[x] >= certain_zero:
                    for row in range(size):
                        n = counts[(own * size + row) * k + x]
                        unseen[row] = total[own * size + row] * alone[x] / here if n == 0 else 0.0
                    if _pairwise_sum(unseen, size) >= certain_zero:
                        for row in range(own * size, (own + 1) * size):
                            allowed[row * k + x] &= counts[row * k + x] > 0
        if (determined or determining) and rows >= 2 * min_rows * max(n_pairs, 1):
            for row in range(self.n_own * size):
                if total[row] > 0:
                    for x in range(k):
                        allowed[row * k + x] &= counts[row * k + x] > 0
        return memchr(allowed, 0, self.n_own * size * k) != NULL


cdef double _sum_over_digits(const double* values, Py_ssize_t k, bint are_all) noexcept nogil:
    """As NumPy adds up a first axis: in turn, or pairwise where the values `are_all` of the array."""
    cdef Py_ssize_t x
    cdef double total = 0.0
    if are_all:
        return _pairwise_sum(values, k)
    for x in range(k):
        total += values[x]
    return total


@cython.final
cdef class _Occupied:
    """The contexts that hold rows: how many, and where each lies in the table of every pair."""

    cdef Py_ssize_t n
    cdef Py_ssize_t* context
    cdef double* weight
    cdef Py_ssize_t* place


cdef _Occupied _occupied(_Pairs pairs, const Count[::1] rows):
    cdef Py_ssize_t outer, group, j, c = 0, n = 0, last = pairs.n, size = pairs.sizes[pairs.n], k = pairs.n_digits
    cdef _Occupied found = _Occupied.__new__(_Occupied)
    cdef Blocks blocks = pairs.blocks
    cdef Py_ssize_t* axis = <Py_ssize_t*> blocks.zeros(AXIS, (last + 1) * sizeof(Py_ssize_t))
    with nogil:
        for outer in range(pairs.n_contexts):
            n += rows[outer] > 0
    cdef Py_ssize_t* context = <Py_ssize_t*> blocks.take(CONTEXT, n * sizeof(Py_ssize_t))
    cdef double* weight = <double*> blocks.take(WEIGHT, n * sizeof(double))
    cdef Py_ssize_t* place = <Py_ssize_t*> blocks.take(PLACE, n * last * sizeof(Py_ssize_t))
    found.n, found.context, found.weight, found.place = n, context, weight, place
    n = 0
    with nogil:
        for outer in range(pairs.n_contexts // size):
            for group in range(size):
                if rows[c] > 0:
                    axis[last] = group
                    for j in range(last):
                        place[n * last + j] = pairs.start[j] + (axis[0] * pairs.sizes[j + 1] + axis[j + 1]) * k
                    context[n], weight[n] = c, rows[c]
                    n += 1
                c += 1
            _advance(axis, &pairs.sizes[0], last)
    return found


cdef void _count_pairs(_Pairs pairs, _Occupied rows, const Count* counts) noexcept nogil:
    cdef Py_ssize_t i, j, x, k = pairs.n_digits
    cdef double* pair
    cdef const Count* here
    for i in range(rows.n):
        here = counts + rows.context[i] * k
        for j in range(pairs.n):
            pair = pairs.counts + rows.place[i * pairs.n + j]
            for x in range(k):
                pair[x] += here[x]


cdef inline void _advance(Py_ssize_t* axis, const int64_t* sizes, Py_ssize_t n) noexcept nogil:
    """The next combination of the first `n` axes, the last of them fastest."""
    cdef Py_ssize_t j = n - 1
    while j >= 0:
        axis[j] += 1
        if axis[j] < sizes[j]:
            return
        axis[j] = 0
        j -= 1


cdef inline void _common_factors(_Pairs pairs, const Py_ssize_t* axis, double* common) noexcept nogil:
    """The product over all parents but the last, whose groups alone change from a context to the next."""
    cdef Py_ssize_t j, x, k = pairs.n_digits
    cdef const double* factor
    for x in range(k):
        common[x] = 1.0
    for j in range(pairs.n - 1):
        factor = pairs.factor + pairs.start[j] + (axis[0] * pairs.sizes[j + 1] + axis[j + 1]) * k
        for x in range(k):
            common[x] *= factor[x]


def coarsen(const Count[:, ::1] counts, const int64_t[::1] groups, Py_ssize_t inner, Count[:, ::1] coarser,
            Count[::1] total):
    cdef Py_ssize_t k = counts.shape[1], size = groups.shape[0], outer, group, i, x, c = 0, n_coarse
    cdef Count here
    cdef Count* into
    if counts.shape[0] == 0:
        return
    n_coarse = groups[size - 1] + 1
    with nogil:
        for outer in range(counts.shape[0] // (size * inner)):
            for group in range(size):
                into = &coarser[(outer * n_coarse + groups[group]) * inner, 0]
                for i in range(inner):
                    here = 0
                    for x in range(k):
                        here += counts[c, x]
                    total[c] = here
                    if here:
                        for x in range(k):
                            into[i * k + x] += counts[c, x]
                    c += 1


cdef inline Py_ssize_t _shorter(Py_ssize_t context, const int64_t[::1] groups, Py_ssize_t n_coarse,
                                Py_ssize_t inner) noexcept nogil:
    """The shorter context, one axis of which has the coarser `groups`; `inner`: the size of all axes after that one."""
    cdef Py_ssize_t size = groups.shape[0], outer = context // (size * inner), rest = context % (size * inner)
    return (outer * n_coarse + groups[rest // inner]) * inner + rest % inner


def lengthen(const Count[:, ::1] counts, const Count[::1] total, const double[:, ::1] shorter,
             const int64_t[::1] sizes, Py_ssize_t axis, const int64_t[::1] groups, Py_ssize_t min_rows, double weight,
             int rounds, double strength, double certain_zero, double[:, ::1] result, double[::1] pair_counts, Blocks blocks):
    if counts.shape[0] == 0:
        return
    cdef Py_ssize_t k = counts.shape[1], last = sizes.shape[0] - 1, i, x, c = 0, outer, group, row, start
    cdef Py_ssize_t n_coarse = groups[groups.shape[0] - 1] + 1, inner = 1, size = sizes[last]
    cdef bint on_last = axis == last
    cdef double all_rows, mass
    cdef const double* source
    cdef const double* factor
    cdef double* into
    cdef double* p = NULL
    cdef _Pairs pairs = _Pairs(sizes, k, blocks)
    cdef _Occupied rows = _occupied(pairs, total)
    cdef Py_ssize_t* place = <Py_ssize_t*> blocks.zeros(AXIS, (last + 1) * sizeof(Py_ssize_t))
    cdef double* common = <double*> blocks.take(COMMON, k * sizeof(double))
    with nogil:
        _count_pairs(pairs, rows, &counts[0, 0])
    if pair_counts is not None:
        memcpy(&pair_counts[0], pairs.counts, pairs.start[pairs.n] * sizeof(double))
    if rounds:
        p = <double*> blocks.take(PROBABILITIES, rows.n * k * sizeof(double))
        for i in range(axis + 1, last + 1):
            inner *= sizes[i]
        with nogil:
            for i in range(rows.n):
                row = _shorter(rows.context[i], groups, n_coarse, inner)
                for x in range(k):
                    p[i * k + x] = shorter[row, x]
            pairs.fit(rows, p, rounds, strength)
    pairs.exclude(min_rows, certain_zero)
    pairs.forbid(rounds > 0)
    with nogil:
        inner = 1
        for i in range(axis + 1, last):
            inner *= sizes[i]
        for outer in range(pairs.n_contexts // size):
            start = outer * n_coarse if on_last else _shorter(outer, groups, n_coarse, inner) * size
            if rounds or pairs.allowed != NULL:
                _common_factors(pairs, place, common)
            factor = pairs.factor + pairs.start[last - 1] + place[0] * size * k
            for group in range(size):
                source = &shorter[start + (groups[group] if on_last else group), 0]
                into = &result[c, 0]
                if rounds or pairs.allowed != NULL:
                    mass = 0.0
                    for x in range(k):
                        into[x] = source[x] * common[x] * factor[group * k + x]
                        mass += into[x]
                    if mass > 0:
                        for x in range(k):
                            into[x] /= mass
                    elif pairs.allowed != NULL:
                        place[last] = group
                        pairs.exclude_in_turn(place, source, into)
                else:
                    for x in range(k):
                        into[x] = source[x]
                if total[c] >= min_rows and total[c] > 0:
                    all_rows = total[c] + weight
                    for x in range(k):
                        into[x] = (counts[c, x] + weight * into[x]) / all_rows
                c += 1
            _advance(place, &sizes[0], last)


def calibrate(const double[::1] pair_counts, const double[:, ::1] table, const Count[::1] drawn,
              const int64_t[::1] sizes, int rounds, double strength, float[:, ::1] result, Blocks blocks):
    if table.shape[0] == 0:
        return
    cdef Py_ssize_t k = table.shape[1], last = sizes.shape[0] - 1, i, x, c = 0, outer, group, size = sizes[last]
    cdef double mass
    cdef const double* source
    cdef const double* factor
    cdef _Pairs pairs = _Pairs(sizes, k, blocks)
    cdef _Occupied rows = _occupied(pairs, drawn)
    cdef double* p = <double*> blocks.take(PROBABILITIES, rows.n * k * sizeof(double))
    cdef Py_ssize_t* place = <Py_ssize_t*> blocks.zeros(AXIS, (last + 1) * sizeof(Py_ssize_t))
    cdef double* common = <double*> blocks.take(COMMON, 2 * k * sizeof(double))
    cdef double* moved = common + k
    with nogil:
        memcpy(pairs.counts, &pair_counts[0], pairs.start[pairs.n] * sizeof(double))
        for i in range(rows.n):
            for x in range(k):
                p[i * k + x] = table[rows.context[i], x]
        pairs.fit(rows, p, rounds, strength)
        for outer in range(pairs.n_contexts // size):
            _common_factors(pairs, place, common)
            factor = pairs.factor + pairs.start[last - 1] + place[0] * size * k
            for group in range(size):
                source, mass = &table[c, 0], 0.0
                for x in range(k):
                    moved[x] = source[x] * common[x] * factor[group * k + x]
                    mass += moved[x]
                mass = 1.0 / max(mass, 1e-300)
                for x in range(k):
                    result[c, x] = <float> (moved[x] * mass)
                c += 1
            _advance(place, &sizes[0], last)
