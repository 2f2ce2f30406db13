"""Tables of all pairs of columns."""

from hazy_pipeline.encode.arrays import Codes, Floats, Integers

def sum_over_cells(codes: Codes, sizes: Integers, of_count: Floats, sums: Floats, first: int, step: int) -> None:
    """What a cell's count stands for, summed over the cells of every pair's table.

    Of every `step`-th column from the `first` on, with all before it and with itself, whose table has its own counts.

    `codes`: shape (columns, rows), each below its column's size; `of_count`: by the number of rows; `sums`: filled, shape
    (columns, columns).
    """
