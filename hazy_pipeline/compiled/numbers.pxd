# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sums and powers written out, for the modules beside this file: so that all processors find the same."""

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


cdef inline void exponentials(double *x, Py_ssize_t n) noexcept nogil:
    """The same in place. Loops of their own: one that compares twice, or touches other arrays as well, goes number by number."""
    cdef Py_ssize_t i
    for i in range(n):
        x[i] = x[i] if x[i] < 700.0 else 700.0
    for i in range(n):
        x[i] = x[i] if x[i] > -700.0 else -700.0
    for i in range(n):
        x[i] = unbounded(x[i])


cdef inline double _pairwise_sum(const double* values, Py_ssize_t n) noexcept nogil:
    """In the order in which NumPy adds up along a last axis, so that nothing depends on which of the two did it."""
    cdef double total = 0.0
    cdef double part[8]
    cdef Py_ssize_t i, j, half
    if n > 128:
        half = n // 2
        half -= half % 8
        return _pairwise_sum(values, half) + _pairwise_sum(values + half, n - half)
    if n < 8:
        for i in range(n):
            total += values[i]
        return total
    for j in range(8):
        part[j] = values[j]
    for i in range(1, n // 8):
        for j in range(8):
            part[j] += values[8 * i + j]
    total = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]))
    for i in range(n - n % 8, n):
        total += values[i]
    return total
