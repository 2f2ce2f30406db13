# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The conditional of a target of few classes: `synthesizers.bayesian_network.target`, compiled. The stub says what callers may rely on.

No loop sums in an order that hangs on the machine, so that all processors find the same.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memset

from hazy_pipeline.compiled.numbers cimport exponential, exponentials
from hazy_pipeline.compiled.rows cimport BLOCK, _pointers

ctypedef fused Group:
    unsigned short
    int

cdef enum:
    FEW_CELLS = 2048  # of a term: so many are counted on the stack
    COPIES = 4  # of every sum: rows of one group that follow each other need not wait for each other's addition


def count_classes(const Group[:, ::1] groups, const long long[::1] starts, const long long[::1] classes,
                  double[:, ::1] counts):
    cdef Py_ssize_t term, row, cell, copy, n_classes = counts.shape[1], n_rows = groups.shape[1], n_cells
    cdef double *of_term
    cdef const Group *group
    cdef int found[COPIES][FEW_CELLS]
    with nogil:
        for term in range(groups.shape[0]):
            n_cells = (starts[term + 1] - starts[term]) * n_classes
            if not n_rows or not n_cells:
                continue
            of_term, group = &counts[starts[term], 0], &groups[term, 0]
            if n_cells > FEW_CELLS:
                for row in range(n_rows):
                    of_term[group[row] * n_classes + classes[row]] += 1.0
                continue
            for copy in range(COPIES):
                memset(&found[copy][0], 0, n_cells * sizeof(int))
            for row in range(n_rows // COPIES):
                for copy in range(COPIES):
                    cell = group[row * COPIES + copy] * n_classes + classes[row * COPIES + copy]
                    found[copy][cell] += 1
            for row in range(n_rows - n_rows % COPIES, n_rows):
                found[0][group[row] * n_classes + classes[row]] += 1
            for cell in range(n_cells):
                for copy in range(COPIES):
                    of_term[cell] += found[copy][cell]


def add_weights(const Group[:, ::1] groups, const long long[::1] starts, const double[:, ::1] weights,
                double[:, ::1] scores):
    cdef Py_ssize_t block, term, row, begin, end, one
    cdef Py_ssize_t n_rows = groups.shape[1], n_weights = weights.shape[1]
    cdef const double *of_term
    with nogil:
        for block in range((n_rows + BLOCK - 1) // BLOCK):
            begin = block * BLOCK
            end = min(begin + BLOCK, n_rows)
            for term in range(groups.shape[0]):
                of_term = &weights[starts[term], 0]
                if n_weights == 1:
                    for row in range(begin, end):
                        scores[row, 0] += of_term[groups[term, row]]
                else:
                    for row in range(begin, end):
                        for one in range(n_weights):
                            scores[row, one] += of_term[groups[term, row] * n_weights + one]


def newton(const Group[:, ::1] groups, const long long[::1] starts, const double[:, ::1] wanted,
           const double[::1] trust, double[:, ::1] weights, const double[:, ::1] scores, double penalty, double shrinkage,
           int n_sweeps, double max_step):
    cdef Py_ssize_t n_terms = groups.shape[0], n_rows = groups.shape[1], n_weights = weights.shape[1]
    cdef Py_ssize_t term, last = 0, row, one, cell, copy, size, largest = 1
    cdef int sweep
    cdef double p, curvature, step, sign = -1.0 if n_weights == 1 else 1.0
    cdef double *odds = NULL
    cdef double *factors = NULL
    cdef double *sums = NULL
    if not n_terms or not n_rows:
        return
    for term in range(n_terms):
        largest = max(largest, starts[term + 1] - starts[term])
    try:
        odds = <double *> malloc(n_rows * n_weights * sizeof(double))
        factors = <double *> malloc(largest * n_weights * sizeof(double))
        sums = <double *> malloc(largest * n_weights * COPIES * 2 * sizeof(double))
        if not odds or not factors or not sums:
            raise MemoryError
        with nogil:
            # A step multiplies the odds of all rows of a group by the same: exp is asked per group, not per row.
            for row in range(n_rows):
                for one in range(n_weights):
                    odds[row * n_weights + one] = exponential(sign * scores[row, one])
            for cell in range(largest * n_weights):
                factors[cell] = 1.0
            for sweep in range(n_sweeps):
                for term in range(n_terms):
                    size = (starts[term + 1] - starts[term]) * n_weights
                    memset(sums, 0, size * COPIES * 2 * sizeof(double))
                    if n_weights == 1:
                        _sums_of_two_classes(&groups[last, 0], &groups[term, 0], odds, factors, sums, n_rows)
                    else:
                        _sums_of_classes(&groups[last, 0], &groups[term, 0], odds, factors, sums, n_rows, n_weights)
                    for cell in range(size):
                        p, curvature = 0.0, 0.0
                        for copy in range(COPIES):
                            p += sums[2 * (cell * COPIES + copy)]
                            curvature += sums[2 * (cell * COPIES + copy) + 1]
                        row, one = starts[term] + cell // n_weights, cell % n_weights
                        step = trust[row] * (wanted[row, one] - p - shrinkage * weights[row, one]) / (curvature + penalty)
                        step = min(max(step, -max_step), max_step)
                        weights[row, one] += step
                        factors[cell] = exponential(sign * step)
                    last = term
    finally:
        free(odds)
        free(factors)
        free(sums)


cdef void _sums_of_two_classes(const Group *moved, const Group *group, double *odds, const double *factors, double *sums,
                               Py_ssize_t n_rows) noexcept nogil:
    """Per group the sums of p and p (1 - p), after the odds moved by the factors of the term before.

    `odds`: of class 0, so that one that outgrows all numbers leaves p at 0. Four rows at a time, two by two in a register: the
    division, which takes longest, hides behind the look-ups.
    """
    cdef Py_ssize_t row, k
    cdef Py_ssize_t whole = n_rows - n_rows % 4
    cdef double x[4]
    cdef double p[4]
    cdef double v[4]
    cdef double a, b
    cdef double *cell
    for row in range(0, whole, 4):
        for k in range(4):
            x[k] = odds[row + k] * factors[moved[row + k]]
        for k in range(4):
            odds[row + k] = x[k]
        for k in range(4):
            p[k] = 1.0 / (1.0 + x[k])
        for k in range(4):
            v[k] = p[k] - p[k] * p[k]
        for k in range(4):
            cell = sums + 2 * (group[row + k] * COPIES + k)
            a, b = cell[0] + p[k], cell[1] + v[k]
            cell[0], cell[1] = a, b
    for row in range(whole, n_rows):
        odds[row] *= factors[moved[row]]
        a = 1.0 / (1.0 + odds[row])
        cell = sums + 2 * group[row] * COPIES
        cell[0] += a
        cell[1] += a - a * a


cdef void _sums_of_classes(const Group *moved, const Group *group, double *odds, const double *factors, double *sums,
                           Py_ssize_t n_rows, Py_ssize_t n_weights) noexcept nogil:
    """The same of more classes than two. `odds`: of each class to class 0."""
    cdef Py_ssize_t row, one
    cdef double total, p, a, b
    cdef double *own
    cdef double *cell
    cdef const double *factor
    for row in range(n_rows):
        own, factor = odds + row * n_weights, factors + moved[row] * n_weights
        cell = sums + 2 * (group[row] * n_weights * COPIES + row % COPIES)
        total = 1.0
        for one in range(n_weights):
            p = own[one] * factor[one]
            own[one] = p if p < 1e300 else 1e300
            total += own[one]
        total = 1.0 / total
        for one in range(n_weights):
            p = own[one] * total
            a, b = cell[0] + p, cell[1] + (p - p * p)
            cell[0], cell[1] = a, b
            cell += 2 * COPIES


def pair_gains(const Group[:, ::1] groups, const long long[::1] sizes, const double[:, ::1] residuals,
               const double[:, ::1] curvatures, double[:, ::1] gains):
    cdef Py_ssize_t n_columns = groups.shape[0], n_rows = groups.shape[1], n_weights = residuals.shape[1]
    cdef Py_ssize_t left, right, row, one, n_cells, largest = 1
    cdef const Group *of_left
    cdef const Group *of_right
    cdef double *sums = NULL
    cdef double *both = NULL
    cdef unsigned char *filled = NULL
    cdef double gain, a, b
    cdef long long size
    for left in range(n_columns):
        for right in range(left):
            largest = max(largest, sizes[left] * sizes[right])
    try:
        both = <double *> malloc(max(n_rows, 1) * n_weights * 2 * sizeof(double))
        sums = <double *> malloc(largest * n_weights * 4 * sizeof(double))
        filled = <unsigned char *> malloc(largest)
        if not both or not sums or not filled:
            raise MemoryError
        with nogil:
            for row in range(n_rows):
                for one in range(n_weights):
                    both[2 * (row * n_weights + one)] = residuals[row, one]
                    both[2 * (row * n_weights + one) + 1] = curvatures[row, one]
            for left in range(n_columns):
                of_left = &groups[left, 0]
                for right in range(left + 1, n_columns):
                    of_right, size = &groups[right, 0], sizes[right]
                    n_cells = sizes[left] * size
                    memset(sums, 0, n_cells * n_weights * 4 * sizeof(double))
                    memset(filled, 0, n_cells)
                    if n_weights == 1:
                        _add_pair_of_two_classes(of_left, of_right, size, both, sums, filled, n_rows)
                    else:
                        _add_pair_of_classes(of_left, of_right, size, both, sums, filled, n_rows, n_weights)
                    gain = 0.0
                    for one in range(n_cells * n_weights):
                        a, b = sums[4 * one] + sums[4 * one + 2], sums[4 * one + 1] + sums[4 * one + 3]
                        gain += a * a / (b + 1.0)
                    for one in range(n_cells):
                        gain -= filled[one] * n_weights
                    gains[left, right] = gain
    finally:
        free(both)
        free(sums)
        free(filled)


cdef void _add_pair_of_two_classes(const Group *left, const Group *right, long long size, const double *both, double *sums,
                                   unsigned char *filled, Py_ssize_t n_rows) noexcept nogil:
    """Residuals and curvatures per joint group; every other row to the other copy of the sums."""
    cdef Py_ssize_t row, k, cell
    cdef double a, b
    cdef double *own
    for row in range(0, n_rows - 1, 2):
        for k in range(2):
            cell = left[row + k] * size + right[row + k]
            filled[cell] = 1
            own = sums + 4 * cell + 2 * k
            a, b = own[0] + both[2 * (row + k)], own[1] + both[2 * (row + k) + 1]
            own[0], own[1] = a, b
    if n_rows % 2:
        cell = left[n_rows - 1] * size + right[n_rows - 1]
        filled[cell] = 1
        sums[4 * cell] += both[2 * (n_rows - 1)]
        sums[4 * cell + 1] += both[2 * (n_rows - 1) + 1]


cdef void _add_pair_of_classes(const Group *left, const Group *right, long long size, const double *both, double *sums,
                               unsigned char *filled, Py_ssize_t n_rows, Py_ssize_t n_weights) noexcept nogil:
    """The same of more classes than two."""
    cdef Py_ssize_t row, one, cell
    cdef double a, b
    cdef double *own
    for row in range(n_rows):
        cell = left[row] * size + right[row]
        filled[cell] = 1
        own = sums + 4 * n_weights * cell + 2 * (row % 2)
        for one in range(n_weights):
            a = own[0] + both[2 * (row * n_weights + one)]
            b = own[1] + both[2 * (row * n_weights + one) + 1]
            own[0], own[1] = a, b
            own += 4


def draw_classes(list states, const long long[::1] columns, const long long[::1] starts, const double[:, ::1] effects,
                 const long long[::1] axis_columns, const long long[::1] axis_starts, const unsigned short[::1] axis_groups,
                 const long long[:, ::1] pairs, const double[:, ::1] pair_weights, const double[::1] base,
                 const double[::1] chances, long long[::1] drawn):
    cdef Py_ssize_t n_rows = drawn.shape[0], n_weights = base.shape[0], block, begin, n, i, row, one
    cdef unsigned short size
    cdef const long long **of_column = NULL
    cdef const long long *state
    cdef const unsigned short *group_of_state
    cdef unsigned short *left_group
    cdef unsigned short *right_group
    cdef const double *effect
    cdef double *scores = NULL
    cdef unsigned short *groups = NULL
    cdef unsigned short cells[BLOCK]
    try:
        of_column = _pointers(states, n_rows)
        scores = <double *> malloc(BLOCK * n_weights * sizeof(double))
        groups = <unsigned short *> malloc(max(axis_columns.shape[0], 1) * BLOCK * sizeof(unsigned short))
        if not scores or not groups:
            raise MemoryError
        with nogil:
            for block in range((n_rows + BLOCK - 1) // BLOCK):
                begin = block * BLOCK
                n = min(<Py_ssize_t> BLOCK, n_rows - begin)
                for row in range(n):
                    for one in range(n_weights):
                        scores[row * n_weights + one] = base[one]
                for i in range(columns.shape[0]):
                    state, effect = of_column[columns[i]] + begin, &effects[starts[i], 0]
                    if n_weights == 1:
                        for row in range(n):
                            scores[row] += effect[state[row]]
                    else:
                        for row in range(n):
                            for one in range(n_weights):
                                scores[row * n_weights + one] += effect[state[row] * n_weights + one]
                for i in range(axis_columns.shape[0]):
                    state, group_of_state = of_column[axis_columns[i]] + begin, &axis_groups[axis_starts[i]]
                    for row in range(n):
                        groups[i * BLOCK + row] = group_of_state[state[row]]
                for i in range(pairs.shape[0]):
                    left_group, right_group = groups + pairs[i, 0] * BLOCK, groups + pairs[i, 1] * BLOCK
                    size, effect = <unsigned short> pairs[i, 2], &pair_weights[pairs[i, 3], 0]
                    for row in range(n):
                        cells[row] = <unsigned short> (left_group[row] * size + right_group[row])
                    if n_weights == 1:
                        for row in range(n):
                            scores[row] += effect[cells[row]]
                    else:
                        for row in range(n):
                            for one in range(n_weights):
                                scores[row * n_weights + one] += effect[cells[row] * n_weights + one]
                _draw(scores, &chances[begin], &drawn[begin], n, n_weights)
    finally:
        free(of_column)
        free(scores)
        free(groups)


cdef void _draw(double *scores, const double *chance, long long *drawn, Py_ssize_t n_rows, Py_ssize_t n_weights) noexcept nogil:
    """A class per row by softmax; class 0 scores nothing."""
    cdef Py_ssize_t row, one
    cdef double highest, total, left, share
    cdef double of_first[BLOCK]
    cdef double *own
    if n_weights == 1:
        for row in range(n_rows):
            scores[row] = -scores[row]
        exponentials(scores, n_rows)
        for row in range(n_rows):
            scores[row] = 1.0 / (1.0 + scores[row])
        for row in range(n_rows):
            drawn[row] = chance[row] < scores[row]
        return
    for row in range(n_rows):
        own, highest = scores + row * n_weights, 0.0
        for one in range(n_weights):
            highest = max(highest, own[one])
        for one in range(n_weights):
            own[one] -= highest
        of_first[row] = -highest
    exponentials(scores, n_rows * n_weights)
    exponentials(of_first, n_rows)
    for row in range(n_rows):
        own, total = scores + row * n_weights, of_first[row]
        for one in range(n_weights):
            total += own[one]
        left, drawn[row] = chance[row], 0
        for one in range(n_weights):
            share = own[one] / total
            if 0.0 <= left < share:
                drawn[row] = one + 1
            left -= share
