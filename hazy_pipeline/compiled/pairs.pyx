# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Tables of all pairs of columns: `synthesizers.bayesian_network.information`, compiled. The stub says what callers may rely on."""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free, malloc

from hazy_pipeline.compiled.numbers cimport _pairwise_sum


def sum_over_cells(const int32_t[:, ::1] codes, const int64_t[::1] sizes, const double[::1] of_count, double[:, ::1] sums,
                   Py_ssize_t first, Py_ssize_t step):
    cdef Py_ssize_t n = codes.shape[0], n_rows = codes.shape[1], i, j, row, cell, most = 1
    for i in range(n):
        for j in range(i + 1):
            most = max(most, sizes[i] * sizes[j])
    # In turn in two tables: one addition waits for the last one of the same cell to be written.
    cdef int32_t* counts = <int32_t*> calloc(2 * most, sizeof(int32_t))
    cdef double* values = <double*> malloc(most * sizeof(double))
    cdef int32_t* others = counts + most
    cdef const int32_t* one
    cdef const int32_t* other
    cdef int32_t width
    try:
        if counts == NULL or values == NULL:
            raise MemoryError
        with nogil:
            for i in range(first, n):
                if (i - first) % step:
                    continue
                one, width = &codes[i, 0], <int32_t> sizes[i]
                for j in range(i + 1):
                    other = &codes[j, 0]
                    for row in range(0, n_rows - 1, 2):
                        counts[other[row] * width + one[row]] += 1
                        others[other[row + 1] * width + one[row + 1]] += 1
                    if n_rows % 2:
                        counts[other[n_rows - 1] * width + one[n_rows - 1]] += 1
                    for cell in range(width * sizes[j]):
                        values[cell] = of_count[counts[cell] + others[cell]]
                        counts[cell] = others[cell] = 0
                    sums[i, j] = sums[j, i] = _pairwise_sum(values, width * sizes[j])
    finally:
        free(counts)
        free(values)
