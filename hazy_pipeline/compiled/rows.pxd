# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""How the target's conditional, trees and their losses read rows: by blocks that stay in a core's nearest cache."""

from libc.stdlib cimport free, malloc

cdef enum:
    BLOCK = 256  # rows: even many columns of them stay in the nearest cache
    LEAVES = 256  # of a tree: a byte says which of them a row is in

ctypedef unsigned char Byte


cdef inline const long long **_pointers(list states, Py_ssize_t n_rows) except NULL:
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
