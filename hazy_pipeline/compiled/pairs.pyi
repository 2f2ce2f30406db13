"""Tables of all pairs of columns."""

from hazy_pipeline.encode.arrays import Codes, Floats, Integers

def sum_over_cells(codes: Codes, sizes: Integers, of_count: Floats, sums: Floats) -> None:
    """What a cell's count stands for, summed over the cells of every pair's table.

    `codes`: shape (columns, rows), each below its column's size; `of_count`: by the number of rows; `sums`: filled but for
    the diagonal, shape (columns, columns).
    """
