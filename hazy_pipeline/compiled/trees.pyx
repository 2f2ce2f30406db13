# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Boosted oblivious trees: `synthesizers.bayesian_network.trees`, compiled. The stub says what callers may rely on.

No loop sums in an order that hangs on the machine, so that all processors find the same.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from hazy_pipeline.compiled.rows cimport BLOCK, LEAVES, Byte, _pointers

cdef enum:
    DEPTH = 8  # questions to a tree
    TREES = 4  # at a time, so that a row's score is read and written once for all of them
    CODES = 256


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
