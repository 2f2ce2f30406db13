# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What trees lower: `synthesizers.bayesian_network.losses`, compiled. The stub says what callers may rely on.

No loop sums in an order that hangs on the machine, so that all processors find the same.
"""

from libc.math cimport fabs
from libc.string cimport memset

from hazy_pipeline.compiled.numbers cimport exponentials
from hazy_pipeline.compiled.rows cimport BLOCK, LEAVES, Byte


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
