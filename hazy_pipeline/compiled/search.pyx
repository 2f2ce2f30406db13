# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What growing contexts say about one node: `synthesizers.bayesian_network.belief`, compiled. The stub says what callers may rely on.

Rows are kept sorted by context and, inside a context, by the node's value, so that one more column is counted context by
context in a table of its groups alone, which lies in the first cache whatever the contexts' number. A context of fewer
than `min_rows` rows gets no counts of its own however much longer it grows, so it's passed over unless it is lifted.
"""

import numpy as np

from libc.math cimport INFINITY, NAN, isnan, log
from libc.stdint cimport int32_t, uint16_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset


cdef enum:
    MAX_BLOCKS = 32
    MAX_STRENGTHS = 16
    MAX_SIGHTS = 16


cdef class Workspace:
    """Tables and lists that a count needs, for the next one to use again; the tables are zero in between."""

    cdef int32_t[::1] count  # (4 x groups,) rows of one cell
    cdef int32_t[::1] total  # (groups,) rows of one context
    cdef int32_t[::1] entry_group  # (rows + 1,) the occupied cells that a column parts others into
    cdef int32_t[::1] entry_cell
    cdef int32_t[::1] entry_count
    cdef Py_ssize_t n_groups
    # Memory that beliefs gave back: the system takes longer to give fresh pages than a loop to fill them.
    cdef void* block[MAX_BLOCKS]
    cdef size_t block_size[MAX_BLOCKS]
    cdef int n_blocks
    # By strength and least number of rows, (rows + 1,): so many times the logarithm of so many rows, less the row itself, and
    # what the shorter context weighs; 0 below the least.
    cdef dict logarithms
    cdef const double* of_strength[MAX_STRENGTHS]

    def __init__(self, Py_ssize_t n_rows):
        self.logarithms = {}
        self.entry_group = np.empty(n_rows + 1, np.int32)
        self.entry_cell = np.empty(n_rows + 1, np.int32)
        self.entry_count = np.empty(n_rows + 1, np.int32)
        self.make_room(256)

    cdef double[::1] total_logs(self, double strength, Py_ssize_t min_rows):
        key = (strength, min_rows)
        if key not in self.logarithms:
            total = np.arange(self.entry_group.shape[0], dtype=np.float64)
            logs = total * np.log(np.maximum(total - 1.0 + strength, 1e-300))
            logs[:min_rows] = 0.0
            self.logarithms[key] = logs
        return self.logarithms[key]

    cdef const double** all_total_logs(self, const double[::1] strengths, Py_ssize_t min_rows) except NULL:
        """As `total_logs`, of some strengths; until the next call."""
        cdef Py_ssize_t i
        cdef double[::1] logs
        if strengths.shape[0] > MAX_STRENGTHS:
            raise ValueError(f"{strengths.shape[0]} strengths; at most {MAX_STRENGTHS}")
        for i in range(strengths.shape[0]):
            logs = self.total_logs(strengths[i], min_rows)
            self.of_strength[i] = &logs[0]
        return self.of_strength

    cdef void* take(self, size_t n_bytes, size_t* size) except NULL nogil:
        """At least so many bytes, of whatever was there before; `size`: how many they are."""
        cdef int i, best = -1
        cdef void* block
        for i in range(self.n_blocks):
            if self.block_size[i] >= n_bytes and (best < 0 or self.block_size[i] < self.block_size[best]):
                best = i
        if best >= 0:
            block, size[0] = self.block[best], self.block_size[best]
            self.n_blocks -= 1
            self.block[best], self.block_size[best] = self.block[self.n_blocks], self.block_size[self.n_blocks]
            return block
        size[0] = n_bytes + n_bytes // 2  # for a larger one, too; pages that nobody touches cost nothing
        block = malloc(size[0])
        if block == NULL:
            with gil:
                raise MemoryError
        return block

    cdef void give(self, void* block, size_t size) noexcept:
        if block == NULL:
            return
        if self.n_blocks == MAX_BLOCKS:
            free(block)
            return
        self.block[self.n_blocks], self.block_size[self.n_blocks] = block, size
        self.n_blocks += 1

    def __dealloc__(self):
        cdef int i
        for i in range(self.n_blocks):
            free(self.block[i])

    cdef make_room(self, Py_ssize_t n_groups):
        if n_groups > self.n_groups:
            self.count = np.zeros(4 * n_groups, np.int32)
            self.total = np.zeros(n_groups, np.int32)
            self.n_groups = n_groups


cdef struct _Scored:
    # What a score hangs on, of the cells of contexts with rows enough. Of a cell of one row that is the strength alone.
    Py_ssize_t n
    int32_t* count  # (n,) cells of several rows
    double* own
    Py_ssize_t singles
    double settled


cdef struct _Seen:
    # Contexts parted by one more column.
    Py_ssize_t column, level  # which one, of those that were screened
    double score
    Py_ssize_t n_entries  # cells of the finer contexts, and of those that are not parted
    Py_ssize_t n_totals
    int32_t* total  # (n_totals,) rows of finer contexts with rows enough
    _Scored plain
    int32_t* cell  # (plain.n,) whose rows they are
    void* block  # where all of it lies, and its size in bytes
    size_t block_size


cdef class Belief:
    """What the contexts so far say about one node, each row left out of its own count."""

    cdef Workspace work
    cdef readonly Py_ssize_t n_rows
    cdef readonly double score
    cdef Py_ssize_t n_digits, n_groups, min_rows, n_contexts
    cdef double hold  # LIFT_STRENGTH
    cdef void* block  # where all of the following lies, and its size in bytes
    cdef size_t block_size
    cdef double* own  # (cells,) probability of the rows' own value ...
    cdef double* log_own  # ... and its logarithm
    cdef double* all  # (cells, digits), NULL where it isn't kept
    cdef int32_t* order  # (rows,) the rows, by context and digit
    cdef int32_t* first_row  # (cells + 1,) where a cell's rows begin in `order`
    cdef int32_t* digit  # (cells,)
    cdef int32_t* first_cell  # (contexts + 1,)
    cdef int32_t* group  # (contexts,) the node's own coarser group

    @staticmethod
    def start(Workspace work, const int32_t[::1] group, Py_ssize_t n_groups, const int32_t[::1] digit,
              Py_ssize_t n_digits, Py_ssize_t min_rows, double hold, bint whole):
        cdef Belief self = Belief.__new__(Belief)
        cdef Py_ssize_t n_rows = group.shape[0], place, n_cells = 0, n_contexts = 0, row, g, d, other, cell = 0, of_context
        self.work, self.n_rows, self.n_digits, self.n_groups = work, n_rows, n_digits, n_groups
        self.min_rows, self.hold = min_rows, hold
        cdef int32_t[::1] counts = np.zeros(n_groups * n_digits + 1, np.int32)
        cdef int32_t[::1] at = np.zeros(n_groups * n_digits + 1, np.int32)
        with nogil:
            for row in range(n_rows):
                counts[group[row] * n_digits + digit[row]] += 1
            for place in range(n_groups * n_digits):
                at[place + 1] = at[place] + counts[place]
                n_cells += counts[place] > 0
            for g in range(n_groups):
                n_contexts += at[(g + 1) * n_digits] > at[g * n_digits]
        self.make_room(n_cells, n_contexts, whole)
        cdef double share = 0.5 / n_digits, rest
        cdef Py_ssize_t context = 0
        with nogil:
            for g in range(n_groups):
                of_context = at[(g + 1) * n_digits] - at[g * n_digits]
                if not of_context:
                    continue
                self.first_cell[context], self.group[context] = cell, g
                context += 1
                rest = of_context - 1.0
                for d in range(n_digits):
                    place = g * n_digits + d
                    if counts[place]:
                        self.first_row[cell], self.digit[cell] = at[place], d
                        self.own[cell] = (counts[place] - 1.0 + share) / (rest + 0.5)
                        if whole:
                            for other in range(n_digits):
                                self.all[cell * n_digits + other] = (counts[g * n_digits + other] + share) / (rest + 0.5)
                            self.all[cell * n_digits + d] = self.own[cell]
                        cell += 1
            self.first_cell[context], self.first_row[cell] = cell, n_rows
            for row in range(n_rows):
                place = group[row] * n_digits + digit[row]
                self.order[at[place]] = row
                at[place] += 1
            self.finish()
        return self

    cdef int make_room(self, Py_ssize_t n_cells, Py_ssize_t n_contexts, bint whole) except -1:
        cdef size_t n_doubles = n_cells * (2 + (self.n_digits if whole else 0))
        cdef size_t n_integers = self.n_rows + 2 * n_cells + 2 * n_contexts + 2
        self.block = self.work.take(n_doubles * sizeof(double) + n_integers * sizeof(int32_t), &self.block_size)
        self.own = <double*> self.block
        self.log_own = self.own + n_cells
        self.all = self.log_own + n_cells if whole else NULL
        self.order = <int32_t*> (self.own + n_doubles)
        self.first_row = self.order + self.n_rows
        self.digit = self.first_row + n_cells + 1
        self.first_cell = self.digit + n_cells
        self.group = self.first_cell + n_contexts + 1
        self.n_contexts = n_contexts
        return 0

    def __dealloc__(self):
        if self.work is None:  # the collector of cycles was here before
            free(self.block)
        else:
            self.work.give(self.block, self.block_size)

    cdef void finish(self) noexcept nogil:
        """What follows from the cells: logarithms, and sums of them."""
        cdef Py_ssize_t cell
        cdef double everything = 0.0
        for cell in range(self.first_cell[self.n_contexts]):
            self.log_own[cell] = log(self.own[cell])
            everything += (self.first_row[cell + 1] - self.first_row[cell]) * self.log_own[cell]
        self.score = everything / self.n_rows

    cdef Py_ssize_t parted(self, Py_ssize_t context, const uint16_t* group, Py_ssize_t n_groups, Py_ssize_t n) noexcept nogil:
        """Count a column inside a context: entries from number `n` on, and `total`; returns the number of entries."""
        cdef Py_ssize_t cell, i, entry, begin, end
        cdef int32_t g, seen
        # By pointers of its own: the compiler has to read the object's anew after everything that is written.
        cdef const int32_t* order = &self.order[0]
        cdef const int32_t* first_row = &self.first_row[0]
        cdef int32_t* count = &self.work.count[0]
        cdef int32_t* total = &self.work.total[0]
        cdef int32_t* entry_group = &self.work.entry_group[0]
        cdef int32_t* entry_count = &self.work.entry_count[0]
        cdef int32_t* entry_cell = &self.work.entry_cell[0]
        for cell in range(self.first_cell[context], self.first_cell[context + 1]):
            begin, end = first_row[cell], first_row[cell + 1]
            if end - begin == 1:
                g = group[order[begin]]
                entry_group[n], entry_count[n], entry_cell[n] = g, 1, cell
                total[g] += 1
                n += 1
            elif end - begin > 3 * n_groups:  # looking through all groups is quicker than to list those that are new
                # In turn in four tables: one addition waits for the last one of the same place to be written.
                for i in range(begin, end - 3, 4):
                    count[group[order[i]]] += 1
                    count[n_groups + group[order[i + 1]]] += 1
                    count[2 * n_groups + group[order[i + 2]]] += 1
                    count[3 * n_groups + group[order[i + 3]]] += 1
                for i in range(end - (end - begin) % 4, end):
                    count[group[order[i]]] += 1
                for g in range(n_groups):
                    seen = count[g] + count[n_groups + g] + count[2 * n_groups + g] + count[3 * n_groups + g]
                    entry_group[n], entry_count[n], entry_cell[n] = g, seen, cell
                    total[g] += seen
                    n += seen > 0
                    count[g] = count[n_groups + g] = count[2 * n_groups + g] = count[3 * n_groups + g] = 0
            else:
                entry = n
                for i in range(begin, end):
                    g = group[order[i]]
                    seen = count[g]
                    entry_group[n] = g  # overwritten by the next one where it isn't new: quicker than asking
                    n += seen == 0
                    count[g] = seen + 1
                for entry in range(entry, n):
                    g = entry_group[entry]
                    entry_count[entry], entry_cell[entry] = count[g], cell
                    total[g] += count[g]
                    count[g] = 0
        return n

    @property
    def can_be_lifted(self):
        return self.all != NULL

    def screened(self, list columns, double strength, int n_kept):
        cdef Py_ssize_t n_columns = len(columns), n_readings = sum(map(len, columns)), column, level, n = 0
        cdef double[::1] total_logs = self.work.total_logs(strength, self.min_rows)
        # Everything by pointers beforehand, so that other threads may run meanwhile.
        cdef Py_ssize_t[::1] first = np.zeros(n_columns + 1, np.intp)
        cdef Py_ssize_t[::1] looked_at = np.zeros(n_columns + 1, np.intp)
        cdef Py_ssize_t[::1] sizes = np.empty(n_readings + 1, np.intp)
        cdef double[::1] scores = np.empty(n_readings + 1)
        cdef const uint16_t[::1] of_rows
        cdef double before
        cdef int i, worst, n_seen = 0
        cdef _Seen* seen = <_Seen*> calloc(n_kept + 1, sizeof(_Seen))  # the best so far, and the one at hand
        cdef const uint16_t** groups = <const uint16_t**> malloc((n_readings + 1) * sizeof(uint16_t*))
        cdef dict kept = {}
        try:
            if groups is NULL or seen is NULL:
                raise MemoryError
            for column in range(n_columns):
                for of_rows, size in columns[column]:
                    groups[n], sizes[n] = &of_rows[0], size
                    self.work.make_room(size)
                    n += 1
                first[column + 1] = n
            for i in range(n_kept + 1):
                self.take_room(&seen[i])
            with nogil:
                for column in range(n_columns):
                    before = -INFINITY
                    for level in range(first[column], first[column + 1]):
                        self.see(groups[level], sizes[level], &seen[n_seen])
                        seen[n_seen].column, seen[n_seen].level = column, level - first[column]
                        seen[n_seen].score = scores[level] = self.score_of(&seen[n_seen], &seen[n_seen].plain, strength, &total_logs[0])
                        if n_seen < n_kept:
                            n_seen += 1
                        else:
                            worst = n_kept
                            for i in range(n_kept):
                                if seen[i].score < seen[worst].score:
                                    worst = i
                            seen[worst], seen[n_kept] = seen[n_kept], seen[worst]
                        looked_at[column] += 1
                        if scores[level] < before:
                            break
                        before = scores[level]
            for i in range(n_seen):
                of_rows, size = columns[seen[i].column][seen[i].level]
                kept[seen[i].column, seen[i].level] = Sight.of(self, of_rows, size, &seen[i])
        finally:
            free(groups)
            if seen is not NULL:
                for i in range(n_kept + 1):
                    self.work.give(seen[i].block, seen[i].block_size)
            free(seen)
        return [[scores[first[column] + level] for level in range(looked_at[column])] for column in range(n_columns)], kept

    cdef int take_room(self, _Seen* seen) except -1:
        """For what will be seen of one more column."""
        cdef Py_ssize_t n_totals = self.n_rows // max(self.min_rows, 1) + 1, n_cells = self.n_rows // 2 + 1
        seen.block = self.work.take(n_cells * (sizeof(double) + 2 * sizeof(int32_t)) + n_totals * sizeof(int32_t), &seen.block_size)
        seen.plain.own = <double*> seen.block
        seen.plain.count = <int32_t*> (seen.plain.own + n_cells)
        seen.cell = seen.plain.count + n_cells
        seen.total = seen.cell + n_cells
        return 0

    cdef void see(self, const uint16_t* group, Py_ssize_t n_groups, _Seen* seen) noexcept nogil:
        """Part the contexts by one more column."""
        cdef Py_ssize_t context, entry, n, n_cells = 0, n_totals = 0, singles = 0, n_entries = 0
        cdef int32_t g, count, total, least = max(self.min_rows, 1)
        cdef bint enough
        cdef double settled = self.score * self.n_rows
        cdef int32_t* totals = &self.work.total[0]
        cdef const int32_t* entry_group = &self.work.entry_group[0]
        cdef const int32_t* entry_count = &self.work.entry_count[0]
        cdef const int32_t* entry_cell = &self.work.entry_cell[0]
        cdef int32_t* counts = seen.plain.count
        cdef int32_t* cells = seen.cell
        for context in range(self.n_contexts):
            if self.rows_of(context) < self.min_rows:
                n_entries += self.first_cell[context + 1] - self.first_cell[context]
                continue
            n = self.parted(context, group, n_groups, 0)
            n_entries += n
            for entry in range(n):  # without a branch: the next one overwrites what isn't wanted
                count = entry_count[entry]
                enough = totals[entry_group[entry]] >= least
                counts[n_cells], cells[n_cells] = count, entry_cell[entry]
                n_cells += enough & (count > 1)
                singles += enough & (count == 1)
            for entry in range(n):
                g = entry_group[entry]
                total = totals[g]
                totals[g] = 0
                seen.total[n_totals] = total
                n_totals += total >= least
        for entry in range(n_cells):
            seen.plain.own[entry] = self.own[cells[entry]]
            settled -= counts[entry] * self.log_own[cells[entry]]
        seen.n_totals, seen.n_entries = n_totals, n_entries
        seen.plain.n, seen.plain.singles, seen.plain.settled = n_cells, singles, settled

    cdef double score_of(self, const _Seen* seen, const _Scored* cells, double strength, const double* total_logs) noexcept nogil:
        cdef double result = cells.settled + cells.singles * log(strength)
        cdef Py_ssize_t i
        for i in range(cells.n):
            result += cells.count[i] * log(cells.count[i] - 1.0 + strength * cells.own[i])
        for i in range(seen.n_totals):
            result -= total_logs[seen.total[i]]
        return result / self.n_rows

    cdef inline Py_ssize_t rows_of(self, Py_ssize_t context) noexcept nogil:
        return self.first_row[self.first_cell[context + 1]] - self.first_row[self.first_cell[context]]

    def seen_in(self, const uint16_t[::1] group, Py_ssize_t n_groups):
        return Sight.of(self, group, n_groups, NULL)


cdef class Sight:
    """Finer contexts: those of `before`, parted by one more column."""

    cdef Belief before
    cdef const uint16_t[::1] group  # (rows,) of the new column
    cdef Py_ssize_t n_groups
    cdef _Seen seen
    cdef _Scored lifted  # as `seen.plain`, where the shorter context is lifted
    cdef bint is_lifted
    cdef double* factors  # (own groups x groups, digits)
    cdef double* pair_counts
    cdef double* expected
    cdef double* hold  # (own groups x groups,)
    cdef double* lifted_own  # (n_lifted,) of entries in the order in which contexts and their cells are counted
    cdef Py_ssize_t n_lifted
    cdef void* block  # where all of the lift lies, and its size in bytes
    cdef size_t block_size

    @staticmethod
    cdef Sight of(Belief before, const uint16_t[::1] group, Py_ssize_t n_groups, _Seen* seen):
        """Takes over the memory of what is seen, if anything is; else it looks itself."""
        cdef Sight self = Sight.__new__(Sight)
        self.before, self.group, self.n_groups = before, group, n_groups
        if seen is NULL:
            before.work.make_room(n_groups)
            before.take_room(&self.seen)
            with nogil:
                before.see(&group[0], n_groups, &self.seen)
        else:
            self.seen = seen[0]
            seen.block = NULL
        return self

    def __dealloc__(self):
        if self.before is None or self.before.work is None:  # the collector of cycles was here before
            free(self.seen.block)
            free(self.block)
        else:
            self.before.work.give(self.seen.block, self.seen.block_size)
            self.before.work.give(self.block, self.block_size)

    def score(self, double strength, bint lifted=False):
        if lifted:
            self.lift()
        cdef double[::1] total_logs = self.before.work.total_logs(strength, self.before.min_rows)
        return self.scored(strength, lifted, &total_logs[0])

    def uphill(self, const double[::1] strengths, Py_ssize_t start, double at_start, bint lifted=False):
        cdef Py_ssize_t best = 0
        cdef double score
        cdef const double** total_logs = self.before.work.all_total_logs(strengths, self.before.min_rows)
        if lifted:
            self.lift()
        with nogil:
            score = self.climbed(&strengths[0], strengths.shape[0], start, at_start, lifted, total_logs, &best)
        return score, best

    cdef double climbed(self, const double* strengths, Py_ssize_t n, Py_ssize_t start, double at_start, bint lifted,
                        const double** total_logs, Py_ssize_t* best) noexcept nogil:
        """The best score; `best`: the strength that has it."""
        cdef Py_ssize_t i
        cdef double best_score = at_start, score
        cdef int way
        best[0] = start
        if isnan(at_start):
            best_score = self.scored(strengths[start], lifted, total_logs[start])
        for way in range(1, -2, -2):
            i = start + way
            while 0 <= i < n:
                score = self.scored(strengths[i], lifted, total_logs[i])
                if score <= best_score:
                    break
                best[0], best_score = i, score
                i += way
            if best[0] != start:
                break
        return best_score

    cdef double scored(self, double strength, bint lifted, const double* total_logs) noexcept nogil:
        return self.before.score_of(&self.seen, &self.lifted if lifted else &self.seen.plain, strength, total_logs)

    cdef int lift(self) except -1 nogil:
        return 0 if self.is_lifted else self.lift_before(self.before, self.before.work)

    cdef int lift_before(self, Belief before, Workspace work) except -1 nogil:
        """Make the shorter context fit the joint counts of the node and the new column, with each row itself left out.

        One step of iterative proportional fitting, held back by LIFT_STRENGTH rows.
        """
        self.is_lifted = True
        cdef Py_ssize_t k = before.n_digits, n_pairs = before.n_groups * self.n_groups, most = before.n_rows, at_most = most // 2 + 1
        cdef Py_ssize_t context, entry, n = 0, begin, pair, cell, d, of_group
        cdef int32_t g, count
        cdef double rows, wanted, own, total
        cdef double* distribution
        cdef double* factor
        cdef size_t n_doubles = n_pairs * (3 * k + 1) + most + at_most
        self.block = work.take(n_doubles * sizeof(double) + (at_most + most) * sizeof(int32_t), &self.block_size)
        cdef double* counts = <double*> self.block
        cdef double* expected = counts + n_pairs * k
        cdef double* factors = expected + n_pairs * k
        cdef double* lifted = factors + n_pairs * (k + 1)
        cdef _Scored cells
        cells.n, cells.own, cells.singles, cells.settled = 0, lifted + most, 0, 0.0
        cells.count = <int32_t*> (cells.own + at_most)
        cdef int32_t* entry_total = cells.count + at_most
        self.pair_counts, self.expected, self.factors, self.hold, self.lifted_own = counts, expected, factors, factors + n_pairs * k, lifted
        memset(counts, 0, 2 * n_pairs * k * sizeof(double))
        cdef double settled = 1.0  # probabilities of rows, multiplied: one logarithm for many of them
        for context in range(before.n_contexts):
            begin, of_group = n, before.group[context] * self.n_groups
            n = before.parted(context, &self.group[0], self.n_groups, n)
            for entry in range(begin, n):
                g, cell, count = work.entry_group[entry], work.entry_cell[entry], work.entry_count[entry]
                counts[(of_group + g) * k + before.digit[cell]] += count
                distribution, factor = before.all + cell * k, expected + (of_group + g) * k
                for d in range(k):
                    factor[d] += count * distribution[d]
                entry_total[entry] = work.total[g] if work.total[g] >= before.min_rows else 0
            for entry in range(begin, n):
                work.total[work.entry_group[entry]] = 0
        for pair in range(n_pairs):
            rows = 0.0
            for d in range(pair * k, (pair + 1) * k):
                rows += counts[d]
            self.hold[pair] = before.hold / max(rows, 1.0)
            for d in range(pair * k, (pair + 1) * k):
                wanted = counts[d] / expected[d] if expected[d] > 1e-9 else 0.0
                factors[d] = (wanted + self.hold[pair]) / (1.0 + self.hold[pair]) if expected[d] > 1e-9 else 1.0
        entry = 0
        for context in range(before.n_contexts):
            of_group = before.group[context] * self.n_groups
            while entry < n and work.entry_cell[entry] < before.first_cell[context + 1]:
                pair, cell = of_group + work.entry_group[entry], work.entry_cell[entry]
                distribution, factor = before.all + cell * k, factors + pair * k
                own, total = self.own_lifted(cell, pair), 0.0
                for d in range(k):
                    total += distribution[d] * factor[d]
                d = before.digit[cell]
                total += own - distribution[d] * factor[d]
                lifted[entry] = own = own / total
                count = work.entry_count[entry]
                if count == 1:
                    cells.singles += entry_total[entry] > 0
                    settled *= own
                    if settled < 1e-200:
                        cells.settled += log(settled)
                        settled = 1.0
                elif entry_total[entry]:
                    cells.count[cells.n], cells.own[cells.n] = count, own
                    cells.n += 1
                else:
                    cells.settled += count * log(own)
                entry += 1
        cells.settled += log(settled)
        self.lifted, self.n_lifted = cells, n
        return 0

    cdef inline double own_lifted(self, Py_ssize_t cell, Py_ssize_t pair) noexcept nogil:
        """Of the row's own value, before the values add up to one again."""
        cdef Py_ssize_t d = self.before.digit[cell]
        cdef double own = self.before.own[cell], hold = self.hold[pair]
        cdef Py_ssize_t place = pair * self.before.n_digits + d
        cdef double left_out = (self.pair_counts[place] - 1.0) / max(self.expected[place] - own, 1e-9)
        return own * min((left_out + hold) / (1.0 + hold), self.factors[place])

    def believed(self, double strength, bint lifted=False):
        cdef Belief before = self.before
        cdef Belief after = Belief.__new__(Belief)
        cdef Workspace work = before.work
        if lifted:
            self.lift()
        after.work, after.n_rows, after.n_digits, after.n_groups = work, before.n_rows, before.n_digits, before.n_groups
        after.min_rows, after.hold = before.min_rows, before.hold
        cdef Py_ssize_t n_cells = self.n_lifted if lifted else self.seen.n_entries
        after.make_room(n_cells, n_cells, before.all != NULL)
        # By group, of the context at hand: its cells, and where its next cell, its next cell's rows and its next row go.
        cdef int32_t[:, ::1] places = np.zeros((4, self.n_groups), np.int32)
        cdef int32_t* cells_of = &places[0, 0]
        cdef int32_t* next_cell = &places[1, 0]
        cdef int32_t* next_first = &places[2, 0]
        cdef int32_t* next_row = &places[3, 0]
        cdef Py_ssize_t context, cell, entry, n, i, row = 0, at = 0, n_contexts = 0, counted = 0, begin_cell
        cdef int32_t g, total
        cdef bint few
        with nogil:
            for context in range(before.n_contexts):
                if not lifted and before.rows_of(context) < before.min_rows:
                    after.first_cell[n_contexts], after.group[n_contexts] = at, before.group[context]
                    n_contexts += 1
                    for cell in range(before.first_cell[context], before.first_cell[context + 1]):
                        after.first_row[at], after.digit[at], after.own[at] = row, before.digit[cell], before.own[cell]
                        if before.all != NULL:
                            for i in range(before.n_digits):
                                after.all[at * before.n_digits + i] = before.all[cell * before.n_digits + i]
                        at += 1
                        for i in range(before.first_row[cell], before.first_row[cell + 1]):
                            after.order[row] = before.order[i]
                            row += 1
                    continue
                n = before.parted(context, &self.group[0], self.n_groups, 0)
                for entry in range(n):
                    cells_of[work.entry_group[entry]] += 1
                for entry in range(n):
                    g = work.entry_group[entry]
                    if cells_of[g]:
                        after.first_cell[n_contexts], after.group[n_contexts] = at, before.group[context]
                        n_contexts += 1
                        next_cell[g], next_first[g], next_row[g] = at, row, row
                        at += cells_of[g]
                        row += work.total[g]
                        cells_of[g] = 0
                for entry in range(n):
                    g, cell = work.entry_group[entry], next_cell[work.entry_group[entry]]
                    next_cell[g] += 1
                    after.first_row[cell] = next_first[g]
                    next_first[g] += work.entry_count[entry]
                    self.place(after, cell, before.group[context], entry, lifted, counted, strength)
                    counted += 1
                for i in range(before.first_row[before.first_cell[context]],
                               before.first_row[before.first_cell[context + 1]]):
                    g = self.group[before.order[i]]
                    after.order[next_row[g]] = before.order[i]
                    next_row[g] += 1
                for entry in range(n):
                    work.total[work.entry_group[entry]] = 0
            after.first_cell[n_contexts], after.first_row[at] = at, row
        after.n_contexts = n_contexts
        with nogil:
            if before.all != NULL:
                self.count_in(after, strength)
            after.finish()
        return after

    cdef inline void place(self, Belief after, Py_ssize_t cell, Py_ssize_t of_node, Py_ssize_t entry, bint lifted,
                           Py_ssize_t number, double strength) noexcept nogil:
        """An entry becomes a cell, which says what the shorter context does; of its own value, what both say.

        `of_node`: the node's own coarser group; `number`: of the entry among all contexts'.
        """
        cdef Py_ssize_t old = self.before.work.entry_cell[entry], k = self.before.n_digits, d, own_digit = self.before.digit[old], pair
        cdef int32_t total = self.before.work.total[self.before.work.entry_group[entry]]
        cdef double own = self.lifted_own[number] if lifted else self.before.own[old], scale
        after.digit[cell] = own_digit
        if self.before.all != NULL:
            if lifted:
                pair = of_node * self.n_groups + self.before.work.entry_group[entry]
                scale = own / self.own_lifted(old, pair)
                for d in range(k):
                    after.all[cell * k + d] = self.before.all[old * k + d] * self.factors[pair * k + d] * scale
            else:
                for d in range(k):
                    after.all[cell * k + d] = self.before.all[old * k + d]
        if total >= self.before.min_rows:
            own = (self.before.work.entry_count[entry] - 1.0 + strength * own) / (total - 1.0 + strength)
        after.own[cell] = own

    cdef void count_in(self, Belief after, double strength) noexcept nogil:
        """Mix the counts of contexts with rows enough into their cells' distributions, each row of its own value left out."""
        cdef Py_ssize_t context, cell, other, d, begin, end, k = after.n_digits
        cdef double total
        cdef double* distribution
        for context in range(after.n_contexts):
            begin, end = after.first_cell[context], after.first_cell[context + 1]
            total = after.first_row[end] - after.first_row[begin]
            for cell in range(begin, end):
                distribution = after.all + cell * k
                if total >= after.min_rows:
                    for d in range(k):
                        distribution[d] *= strength
                    for other in range(begin, end):
                        distribution[after.digit[other]] += after.first_row[other + 1] - after.first_row[other]
                    for d in range(k):
                        distribution[d] /= total - 1.0 + strength
                distribution[after.digit[cell]] = after.own[cell]


def best_of(list sights, const double[::1] at_screening, const double[::1] strengths, Py_ssize_t start, int n_lifted,
            double share, double nats):
    cdef Py_ssize_t n = len(sights), i, which = 0, strength = 0, of_lifted = 0
    if not 0 < n <= MAX_SIGHTS:
        raise ValueError(f"{n} sights; at least 1 and at most {MAX_SIGHTS}")
    cdef Belief before = (<Sight?> sights[0]).before
    cdef const double** total_logs = before.work.all_total_logs(strengths, before.min_rows)
    cdef void* sight[MAX_SIGHTS]
    cdef double score[MAX_SIGHTS]
    cdef Py_ssize_t best[MAX_SIGHTS]
    cdef bint is_lifted = False, is_looked_at[MAX_SIGHTS]
    cdef double highest = -INFINITY, behind, found, score_lifted
    cdef int number
    for i in range(n):
        sight[i] = <void*> (<Sight?> sights[i])
    with nogil:
        for i in range(n):
            score[i] = (<Sight> sight[i]).climbed(&strengths[0], strengths.shape[0], start, at_screening[i], False, total_logs, &best[i])
            is_looked_at[i] = False
            if score[i] > highest:
                highest, which, strength = score[i], i, best[i]
        found = highest
        behind = max(share * (highest - before.score), nats / before.n_rows)
        for number in range(min(n_lifted, n) if before.all != NULL else 0):
            of_lifted = -1
            for i in range(n):
                if not is_looked_at[i] and (of_lifted < 0 or score[i] > score[of_lifted]):
                    of_lifted = i
            if score[of_lifted] < highest - behind:
                break
            is_looked_at[of_lifted] = True
            (<Sight> sight[of_lifted]).lift()
            score_lifted = (<Sight> sight[of_lifted]).climbed(&strengths[0], strengths.shape[0], start, NAN, True, total_logs, &best[of_lifted])
            if score_lifted > found:
                found, which, strength, is_lifted = score_lifted, of_lifted, best[of_lifted], True
    return found, which, strength, is_lifted
