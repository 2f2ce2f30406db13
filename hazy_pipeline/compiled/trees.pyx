# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""See the stub beside this file for what callers may rely on.

Loops go over blocks of rows that stay in a core's nearest cache. None sums in an order that hangs on the machine, and `exp` is
written out below, so that all processors find the same.
"""

from libc.math cimport fabs
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

ctypedef fused Group:
    unsigned short
    int

cdef enum:
    BLOCK = 256  # rows: even many columns of them stay in the nearest cache
    COPIES = 4  # of every sum: rows of one group that follow each other need not wait for each other's addition

cdef union Double:
    double value
    unsigned long long bits


cdef inline double unbounded(double x) noexcept nogil:
    """e ** x to a few units in the last place, for x within 700, and without a branch: compilers take several x together.

    Cody and Waite's (1980) reduction to x = n log 2 + r, and Taylor's series of r.
    """
    cdef Double shifted, found
    cdef double n, r, r2, r4, low, middle, high
    shifted.value = x * 1.4426950408889634 + 6755399441055744.0  # 1.5 * 2 ** 52: the sum is rounded to a whole number
    n = shifted.value - 6755399441055744.0
    r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10
    # In pairs (Estrin 1960): each power must not wait for all lower ones
    r2 = r * r
    r4 = r2 * r2
    low = (1.0 / 2 + r * (1.0 / 6)) + r2 * (1.0 / 24 + r * (1.0 / 120))
    middle = (1.0 / 720 + r * (1.0 / 5040)) + r2 * (1.0 / 40320 + r * (1.0 / 362880))
    high = (1.0 / 3628800 + r * (1.0 / 39916800)) + r2 * (1.0 / 479001600 + r * (1.0 / 6227020800.0))
    found.value = 1.0 + (r + r2 * (low + r4 * (middle + r4 * high)))
    found.bits += shifted.bits << 52
    return found.value


cdef inline double exponential(double x) noexcept nogil:
    """e ** x, x held within 700."""
    return unbounded(min(max(x, -700.0), 700.0))


cdef void exponentials(double *x, Py_ssize_t n) noexcept nogil:
    """The same in place. Loops of their own: one that compares twice, or touches other arrays as well, goes number by number."""
    cdef Py_ssize_t i
    for i in range(n):
        x[i] = x[i] if x[i] < 700.0 else 700.0
    for i in range(n):
        x[i] = x[i] if x[i] > -700.0 else -700.0
    for i in range(n):
        x[i] = unbounded(x[i])


# The conditional of a target of few classes (target.py)


def add_axis(Group[::1] context, const long long[::1] states, const long long[::1] group_of_state, long long size):
    cdef Py_ssize_t row
    with nogil:
        for row in range(states.shape[0]):
            context[row] = <Group> (context[row] * size + group_of_state[states[row]])


def count_classes(const Group[:, ::1] groups, const long long[::1] starts, const long long[::1] classes,
                  double[:, ::1] counts):
    cdef Py_ssize_t term, row
    cdef double *of_term
    cdef Py_ssize_t n_classes = counts.shape[1]
    with nogil:
        for term in range(groups.shape[0]):
            of_term = &counts[starts[term], 0]
            for row in range(groups.shape[1]):
                of_term[groups[term, row] * n_classes + classes[row]] += 1.0


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


cdef const long long **_pointers(list states, Py_ssize_t n_rows) except NULL:
    """Where the states of each column begin; to be freed. The list must outlive it."""
    cdef const long long **found = <const long long **> malloc(max(len(states), 1) * sizeof(void *))
    cdef const long long[::1] view
    if not found:
        raise MemoryError
    try:
        for i, of_column in enumerate(states):
            view = of_column
            if view.shape[0] != n_rows:
                raise ValueError(f"column {i} has {view.shape[0]} rows, not {n_rows}")
            found[i] = &view[0] if n_rows else NULL
    except BaseException:
        free(found)
        raise
    return found


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


# Boosted oblivious trees (trees.py): eight questions to a tree, hence 256 leaves

cdef enum:
    DEPTH = 8
    LEAVES = 256
    TREES = 4  # at a time, so that a row's score is read and written once for all of them
    CODES = 256

ctypedef unsigned char Byte


cdef void _answer(const Byte *codes, Py_ssize_t stride, const long long *questions, Byte *leaf, Py_ssize_t n_rows) noexcept nogil:
    """The leaf of every row: eight comparisons, one bit each, of many rows at once. `stride`: from column to column."""
    cdef const Byte *a = codes + questions[0] * stride
    cdef const Byte *b = codes + questions[2] * stride
    cdef const Byte *c = codes + questions[4] * stride
    cdef const Byte *d = codes + questions[6] * stride
    cdef const Byte *e = codes + questions[8] * stride
    cdef const Byte *f = codes + questions[10] * stride
    cdef const Byte *g = codes + questions[12] * stride
    cdef const Byte *h = codes + questions[14] * stride
    cdef Byte at_a = <Byte> questions[1], at_b = <Byte> questions[3], at_c = <Byte> questions[5], at_d = <Byte> questions[7]
    cdef Byte at_e = <Byte> questions[9], at_f = <Byte> questions[11], at_g = <Byte> questions[13], at_h = <Byte> questions[15]
    cdef Py_ssize_t row
    for row in range(n_rows):
        leaf[row] = <Byte> (
            (128 if a[row] > at_a else 0) | (64 if b[row] > at_b else 0) | (32 if c[row] > at_c else 0)
            | (16 if d[row] > at_d else 0) | (8 if e[row] > at_e else 0) | (4 if f[row] > at_f else 0)
            | (2 if g[row] > at_g else 0) | (1 if h[row] > at_h else 0)
        )


cdef void _add_trees(const Byte *codes, Py_ssize_t stride, const long long *questions, const double *leaves, double *scores, Byte *found,
                     Py_ssize_t n_trees, Py_ssize_t n_rows) noexcept nogil:
    """What the trees say of a block of rows, added to their scores in the order of the trees."""
    cdef Py_ssize_t tree, k, row
    cdef Py_ssize_t whole = n_trees - n_trees % TREES
    cdef const double *table
    for tree in range(0, whole, 4):
        for k in range(TREES):
            _answer(codes, stride, questions + (tree + k) * DEPTH * 2, found + k * BLOCK, n_rows)
        table = leaves + tree * LEAVES
        for row in range(n_rows):
            scores[row] = (((scores[row] + table[found[row]]) + table[LEAVES + found[BLOCK + row]])
                           + table[2 * LEAVES + found[2 * BLOCK + row]]) + table[3 * LEAVES + found[3 * BLOCK + row]]
    for tree in range(whole, n_trees):
        _answer(codes, stride, questions + tree * DEPTH * 2, found, n_rows)
        table = leaves + tree * LEAVES
        for row in range(n_rows):
            scores[row] += table[found[row]]


cdef int _check(const long long[:, ::1] questions, Py_ssize_t n_columns) except -1:
    cdef Py_ssize_t k
    if questions.shape[0] != DEPTH or questions.shape[1] != 2:
        raise ValueError(f"a tree has {DEPTH} questions, a column and a code each")
    for k in range(DEPTH):
        if not (0 <= questions[k, 0] < n_columns and 0 <= questions[k, 1] < CODES):
            raise ValueError(f"a tree asks about code {questions[k, 1]} of column {questions[k, 0]} of {n_columns}")
    return 0


cdef int _check_trees(const long long[:, :, ::1] questions, const double[:, ::1] leaves, Py_ssize_t n_columns) except -1:
    cdef Py_ssize_t tree
    if leaves.shape[1] != LEAVES or leaves.shape[0] != questions.shape[0]:
        raise ValueError(f"a tree has {LEAVES} leaves")
    for tree in range(questions.shape[0]):
        _check(questions[tree], n_columns)
    return 0


def add_trees(const Byte[:, ::1] codes, const long long[:, :, ::1] questions, const double[:, ::1] leaves, double[::1] scores):
    cdef Py_ssize_t n_rows = codes.shape[1], n_trees = questions.shape[0], block, begin
    cdef Byte found[TREES * BLOCK]
    _check_trees(questions, leaves, codes.shape[0])
    if not n_trees or not n_rows:
        return
    with nogil:
        for block in range((n_rows + BLOCK - 1) // BLOCK):
            begin = block * BLOCK
            _add_trees(&codes[0, begin], n_rows, &questions[0, 0, 0], &leaves[0, 0], &scores[begin], found, n_trees,
                       min(<Py_ssize_t> BLOCK, n_rows - begin))


def predict(list states, list codes, const long long[:, :, ::1] questions, const double[:, ::1] leaves, double[::1] scores):
    cdef Py_ssize_t n_columns = len(states), n_rows = scores.shape[0], n_trees = questions.shape[0]
    cdef Py_ssize_t block, begin, n, column, row
    cdef const long long **of_column = NULL
    cdef const long long *state
    cdef const Byte **code_of_state = NULL
    cdef const Byte *code
    cdef const Byte[::1] view
    cdef Byte *own = NULL
    cdef Byte found[TREES * BLOCK]
    _check_trees(questions, leaves, n_columns)
    if not n_trees or not n_rows:
        return
    try:
        of_column = _pointers(states, n_rows)
        code_of_state = <const Byte **> malloc(n_columns * sizeof(void *))
        own = <Byte *> malloc(n_columns * BLOCK)
        if not code_of_state or not own:
            raise MemoryError
        for column in range(n_columns):
            view = codes[column]
            code_of_state[column] = &view[0]
        with nogil:
            for block in range((n_rows + BLOCK - 1) // BLOCK):
                begin = block * BLOCK
                n = min(<Py_ssize_t> BLOCK, n_rows - begin)
                for column in range(n_columns):
                    state, code = of_column[column] + begin, code_of_state[column]
                    for row in range(n):
                        own[column * BLOCK + row] = code[state[row]]
                _add_trees(own, BLOCK, &questions[0, 0, 0], &leaves[0, 0], &scores[begin], found, n_trees, n)
    finally:
        free(of_column)
        free(code_of_state)
        free(own)


cdef enum:
    COLUMNS = 8  # that are looked at together: their sums need not wait for each other


def questions(const Byte[:, ::1] codes, const double[::1] gradient, const long long[::1] drawn,
              const long long[:, ::1] looked_at, const long long[::1] widths, double penalty, long long[:, ::1] found):
    cdef Py_ssize_t n_columns = codes.shape[0], n_drawn = drawn.shape[0], n_looked_at = looked_at.shape[1]
    cdef Py_ssize_t depth, first, k, column, row, leaf, n_leaves = 1, n_here, at, best_at
    cdef double best
    cdef Byte *sample = NULL  # (columns, drawn rows)
    cdef int *order = NULL  # the drawn rows leaf by leaf, as drawn within each
    cdef int *order_above = NULL
    cdef double *counted = NULL  # of the rows in that order: see below
    cdef double *counted_above = NULL
    cdef int ends[LEAVES + 1]
    cdef int ends_after[LEAVES + 1]
    cdef double sums[COLUMNS * CODES]
    cdef double gains[COLUMNS * CODES]
    cdef const Byte *of_column[COLUMNS]
    cdef int width[COLUMNS]
    if looked_at.shape[0] != DEPTH or not n_looked_at or found.shape[0] != DEPTH or found.shape[1] != 2:
        raise ValueError(f"a tree has {DEPTH} questions, of some columns each")
    for column in range(n_columns):
        if not 0 < widths[column] <= CODES:
            raise ValueError(f"column {column} has {widths[column]} codes")
    try:
        sample = <Byte *> malloc(max(n_columns * n_drawn, 1))
        order = <int *> malloc(max(n_drawn, 1) * sizeof(int))
        order_above = <int *> malloc(max(n_drawn, 1) * sizeof(int))
        counted = <double *> malloc(max(n_drawn, 1) * sizeof(double))
        counted_above = <double *> malloc(max(n_drawn, 1) * sizeof(double))
        if not sample or not order or not order_above or not counted or not counted_above:
            raise MemoryError
        with nogil:
            for column in range(n_columns):
                for row in range(n_drawn):
                    sample[column * n_drawn + row] = codes[column, drawn[row]]
            for row in range(n_drawn):
                order[row] = <int> row
                # Rows and their sums in one count: the rows are whole multiples of 2 ** 20, as in the twin.
                counted[row] = gradient[drawn[row]] + 1048576.0
            ends[0], ends[1] = 0, <int> n_drawn
            for depth in range(DEPTH):
                best = -1.0
                found[depth, 0] = found[depth, 1] = 0
                for first in range(0, n_looked_at, 8):
                    n_here = min(<Py_ssize_t> COLUMNS, n_looked_at - first)
                    for k in range(COLUMNS):  # where fewer are left, the last one again
                        column = looked_at[depth, min(first + k, n_looked_at - 1)]
                        of_column[k], width[k] = sample + column * n_drawn, <int> widths[column]
                    memset(gains, 0, sizeof(gains))
                    for leaf in range(n_leaves):
                        _add_gains(of_column, width, n_here, order + ends[leaf], counted + ends[leaf],
                                   ends[leaf + 1] - ends[leaf], penalty, sums, gains)
                    for k in range(n_here):
                        best_at = 0
                        for at in range(1, width[k]):
                            if gains[k * CODES + at] > gains[k * CODES + best_at]:
                                best_at = at
                        if gains[k * CODES + best_at] >= best:
                            best = gains[k * CODES + best_at]
                            found[depth, 0], found[depth, 1] = looked_at[depth, first + k], best_at
                if depth + 1 < DEPTH:
                    n_leaves = _parted(sample + found[depth, 0] * n_drawn, <Byte> found[depth, 1], order, counted, ends,
                                       n_leaves, order_above, counted_above, ends_after)
                    memcpy(ends, ends_after, sizeof(ends))
    finally:
        free(sample)
        free(order)
        free(order_above)
        free(counted)
        free(counted_above)


cdef void _add_gains(const Byte **codes, const int *width, Py_ssize_t n_columns, const int *order, const double *counted, Py_ssize_t n_rows,
                     double penalty, double *sums, double *gains) noexcept nogil:
    """What a leaf's split above each code of some columns explains, added to `gains`, shape (COLUMNS, CODES)."""
    cdef const Byte *a = codes[0]
    cdef const Byte *b = codes[1]
    cdef const Byte *c = codes[2]
    cdef const Byte *d = codes[3]
    cdef const Byte *e = codes[4]
    cdef const Byte *f = codes[5]
    cdef const Byte *g = codes[6]
    cdef const Byte *h = codes[7]
    cdef Py_ssize_t widest = 0, i, row, k, code
    cdef double one, below, above, total, rest, n_rows_in, total_in
    cdef double so_far[COLUMNS]
    cdef double *own
    cdef double *gain
    for k in range(COLUMNS):
        widest, so_far[k] = max(widest, <Py_ssize_t> width[k]), 0.0
    for k in range(COLUMNS):
        memset(sums + k * CODES, 0, widest * sizeof(double))
    for i in range(n_rows):
        row, one = order[i], counted[i]
        sums[a[row]] += one
        sums[CODES + b[row]] += one
        sums[2 * CODES + c[row]] += one
        sums[3 * CODES + d[row]] += one
        if n_columns > 4:
            sums[4 * CODES + e[row]] += one
            sums[5 * CODES + f[row]] += one
            sums[6 * CODES + g[row]] += one
            sums[7 * CODES + h[row]] += one
    for code in range(widest):
        for k in range(COLUMNS):
            so_far[k] += sums[k * CODES + code]
            sums[k * CODES + code] = so_far[k]
    for k in range(n_columns):
        own, gain = sums + k * CODES, gains + k * CODES
        one = own[width[k] - 1]
        n_rows_in = rounded(one / 1048576.0)
        total_in = one - n_rows_in * 1048576.0
        for code in range(width[k]):
            below = rounded(own[code] / 1048576.0)
            total = own[code] - below * 1048576.0
            above, rest = n_rows_in - below, total_in - total
            below, above = below + penalty, above + penalty
            # Both sides' squares over their rows, in one division
            gain[code] += (total * total * above + rest * rest * below) / (below * above)


cdef inline double rounded(double x) noexcept nogil:
    """To a whole number, below 2 ** 51."""
    return (x + 6755399441055744.0) - 6755399441055744.0


cdef Py_ssize_t _parted(const Byte *codes, Byte at, int *order, double *counted, const int *ends, Py_ssize_t n_leaves,
                        int *order_above, double *counted_above, int *ends_after) noexcept nogil:
    """Every leaf's rows by their answer to one more question, as drawn within each; the number of leaves that have rows.

    Each row is written to both sides, of which one moves on: a branch would be guessed wrongly as often as not.
    """
    cdef Py_ssize_t leaf, i, row, n_after = 0, n_below, n_above, above
    cdef double count
    ends_after[0] = 0
    for leaf in range(n_leaves):
        n_below, n_above = ends[leaf], 0
        for i in range(ends[leaf], ends[leaf + 1]):
            row, count = order[i], counted[i]
            above = codes[row] > at
            order[n_below], counted[n_below] = <int> row, count
            order_above[n_above], counted_above[n_above] = <int> row, count
            n_above += above
            n_below += 1 - above
        memcpy(order + n_below, order_above, n_above * sizeof(int))
        memcpy(counted + n_below, counted_above, n_above * sizeof(double))
        if n_below > ends[leaf]:
            n_after += 1
            ends_after[n_after] = <int> n_below
        if n_above:
            n_after += 1
            ends_after[n_after] = ends[leaf + 1]
    return n_after


def find_leaves(const Byte[:, ::1] codes, const long long[:, ::1] questions, Byte[::1] leaf):
    cdef Py_ssize_t n_rows = codes.shape[1]
    _check(questions, codes.shape[0])
    if n_rows:
        with nogil:
            _answer(&codes[0, 0], n_rows, &questions[0, 0], &leaf[0], n_rows)


def add_leaves(const Byte[::1] leaf, const double[::1] leaves, double[::1] scores):
    cdef Py_ssize_t row
    with nogil:
        for row in range(leaf.shape[0]):
            scores[row] += leaves[leaf[row]]


def leaf_sums(const Byte[::1] leaf, const double[::1] is_real, const double[::1] first, const double[::1] second,
              double[:, :, ::1] sums):
    cdef Py_ssize_t row, k, n_rows = leaf.shape[0]
    cdef double *cell
    cdef double a, b, c
    cdef double twice[2 * LEAVES * 2 * 4]  # for every other row, so that those of one leaf need not wait for each other
    if sums.shape[0] != LEAVES or sums.shape[1] != 2 or sums.shape[2] != 3:
        raise ValueError("sums of drawn and real rows in each leaf: their number, the first and the second")
    with nogil:
        memset(twice, 0, sizeof(twice))
        for row in range(n_rows):
            cell = twice + ((row & 1) * LEAVES * 2 + leaf[row] * 2 + (is_real[row] > 0.0)) * 4
            a, b, c = cell[0] + 1.0, cell[1] + first[row], cell[2] + second[row]
            cell[0], cell[1], cell[2] = a, b, c
        for row in range(LEAVES * 2):
            for k in range(3):
                (&sums[0, 0, 0])[row * 3 + k] = twice[row * 4 + k] + twice[(LEAVES * 2 + row) * 4 + k]


# What trees lower (losses.py)


def log_gradient(const double[::1] score, const double[::1] is_real, const double[::1] weight, double[::1] gradient):
    cdef Py_ssize_t block, begin, n, row
    cdef double x[BLOCK]
    with nogil:
        for block in range((score.shape[0] + BLOCK - 1) // BLOCK):
            begin = block * BLOCK
            n = min(<Py_ssize_t> BLOCK, score.shape[0] - begin)
            for row in range(n):
                x[row] = -score[begin + row]
            exponentials(x, n)
            for row in range(n):
                gradient[begin + row] = weight[begin + row] * (is_real[begin + row] - 1.0 / (1.0 + x[row]))


def log_curvature(const double[::1] gradient, const double[::1] weight, double[::1] curvature):
    cdef Py_ssize_t row
    with nogil:
        for row in range(gradient.shape[0]):  # the gradient is all of the weight but for the share of the row's own kind
            curvature[row] = fabs(gradient[row]) * (1.0 - fabs(gradient[row]) / weight[row])


def log_total(const double[::1] score, const double[::1] is_real, const double[::1] weight):
    cdef Py_ssize_t block, begin, n, row
    cdef double u, u2, u4, z, low, middle, high, highest, total = 0.0
    cdef double wrong[BLOCK]
    cdef double x[BLOCK]
    with nogil:
        for block in range((score.shape[0] + BLOCK - 1) // BLOCK):
            begin = block * BLOCK
            n = min(<Py_ssize_t> BLOCK, score.shape[0] - begin)
            for row in range(n):
                wrong[row] = (1.0 - 2.0 * is_real[begin + row]) * score[begin + row]
            for row in range(n):
                x[row] = -fabs(wrong[row])
            exponentials(x, n)
            for row in range(n):
                # log(1 + u) by its series in z = u / (2 + u), which is at most 1 / 3
                z = x[row] / (2.0 + x[row])
                u = z * z
                u2 = u * u
                u4 = u2 * u2
                low = (1.0 / 3 + u * (1.0 / 5)) + u2 * (1.0 / 7 + u * (1.0 / 9))
                middle = (1.0 / 11 + u * (1.0 / 13)) + u2 * (1.0 / 15 + u * (1.0 / 17))
                high = (1.0 / 19 + u * (1.0 / 21)) + u2 * (1.0 / 23 + u * (1.0 / 25))
                highest = (1.0 / 27 + u * (1.0 / 29)) + u2 * (1.0 / 31 + u * (1.0 / 33))
                x[row] = 2.0 * (z + z * u * ((low + u4 * middle) + u4 * u4 * (high + u4 * highest)))
            for row in range(n):
                total += weight[begin + row] * (x[row] + max(wrong[row], 0.0))
    return total


def ratios(const double[::1] score, const double[::1] is_real, const double[::1] weight, double highest, double[::1] ratio):
    cdef Py_ssize_t block, begin, n, row
    cdef double x[BLOCK]
    with nogil:
        for block in range((score.shape[0] + BLOCK - 1) // BLOCK):
            begin = block * BLOCK
            n = min(<Py_ssize_t> BLOCK, score.shape[0] - begin)
            for row in range(n):
                x[row] = min(score[begin + row], highest)
            exponentials(x, n)
            for row in range(n):
                ratio[begin + row] = (1.0 - is_real[begin + row]) * weight[begin + row] * x[row]
