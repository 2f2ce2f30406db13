"""Correlation of latent normal scores from the covariance of what is seen of them, and its repair."""

import numpy as np
from numpy.typing import NDArray

from hazy_pipeline.synthesizers.gaussian_copula_marginal import Cells

Floats = NDArray[np.float64]

N_HERMITE = 16
MAX_CORRELATION = 0.9995
_HALVINGS = 16
_BLOCK = 256  # columns solved at a time: bounds the memory
_SEEN_WHOLE = 0.995  # variance of the scores from which a column is as good as continuous


class CovarianceOfScores:
    """Mean and covariance of scores, shape (n_columns,) and (n_columns, n_columns), added up batch by batch."""

    def __init__(self, n_columns: int) -> None:
        self.n_rows = 0
        self._sum = np.zeros(n_columns)
        self._products = np.zeros((n_columns, n_columns))

    def update(self, n_rows: int, sums: Floats, products: Floats) -> None:
        """Of `n_rows` rows more; scores have a mean near zero, so plain sums lose no precision."""
        self.n_rows += n_rows
        self._sum += sums
        self._products += products

    def result(self) -> Floats:
        mean = self._sum / max(self.n_rows, 1)
        covariance: Floats = self._products / max(self.n_rows, 1) - np.outer(mean, mean)
        return covariance


def hermite_coefficients(cells: Cells) -> Floats:
    """Coefficients of a column's score function in the normalised Hermite polynomials of degree 1 to `N_HERMITE`.

    The function is a step per cell, so that each coefficient is a sum over the cells' edges: the integral of
    He_k(z) phi(z) over [a, b] is He_{k-1}(a) phi(a) - He_{k-1}(b) phi(b). Shape (N_HERMITE,).
    """
    edges = cells.edges[1:-1]
    density = np.exp(-0.5 * edges**2) / np.sqrt(2 * np.pi)
    jumps = np.diff(cells.scores)  # summation by parts: only the jumps between cells count
    coefficients = np.empty(N_HERMITE)
    previous, current = np.zeros_like(edges), np.ones_like(edges)  # normalised He_{-1}, He_0
    for degree in range(1, N_HERMITE + 1):
        coefficients[degree - 1] = (jumps * current * density).sum() / np.sqrt(degree)
        previous, current = current, (edges * current - np.sqrt(degree - 1) * previous) / np.sqrt(degree)
    return coefficients


def latent_correlation(covariance: Floats, coefficients: Floats) -> Floats:
    """The correlation of z that explains the covariance of the score functions f_i(z_i).

    For bivariate normal scores, Cov(f_i, f_j) is the sum over k of rho^k c_ik c_jk, with c the Hermite coefficients
    (Mehler's formula; Lancaster 1957), which grows with rho for monotone f: it is inverted by bisection. For two
    continuous columns this is the correlation of normal scores; for two discrete ones a polychoric correlation by the
    method of moments. `coefficients`: shape (n_columns, N_HERMITE). Columns that never vary get 0.
    """
    n_columns = len(covariance)
    correlation = np.eye(n_columns)
    explained = coefficients[:, 0]  # of a step function of conditional means: its variance
    for begin in range(0, n_columns, _BLOCK):
        rows = slice(begin, min(begin + _BLOCK, n_columns))
        correlation[rows] = _invert(covariance[rows], coefficients[rows], coefficients)
    correlation = (correlation + correlation.T) / 2
    correlation[explained < 1e-6] = 0.0
    correlation[:, explained < 1e-6] = 0.0
    np.fill_diagonal(correlation, 1.0)
    return correlation


def _invert(covariance: Floats, left: Floats, right: Floats) -> Floats:
    """Bisection on rho, for every pair of a row of `left` and a row of `right` at once."""
    whole = np.add.outer(np.where(left[:, 0] > _SEEN_WHOLE, 0, 1), np.where(right[:, 0] > _SEEN_WHOLE, 0, 1)) < 2
    # Where one of the two is continuous only the first term is there, and the equation is linear.
    linear = covariance / np.maximum(np.outer(left[:, 0], right[:, 0]), 1e-12)
    solution: Floats = np.clip(linear, -MAX_CORRELATION, MAX_CORRELATION)
    if whole.all():
        return solution
    pairs = np.nonzero(~whole)
    one, other, target = left[pairs[0]], right[pairs[1]], covariance[pairs]
    terms = one * other
    low, high = np.full(len(target), -MAX_CORRELATION), np.full(len(target), MAX_CORRELATION)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        value = np.zeros_like(middle)
        for degree in range(N_HERMITE - 1, -1, -1):
            value = (value + terms[:, degree]) * middle
        too_low = value < target
        low, high = np.where(too_low, middle, low), np.where(too_low, high, middle)
    solution[pairs] = (low + high) / 2
    return solution


def nearest_correlation(matrix: Floats, *, smallest: float = 1e-4, max_iterations: int = 100) -> Floats:
    """The nearest correlation matrix in the Frobenius norm whose eigenvalues are positive.

    Alternating projections onto the positive semi-definite matrices and onto those of unit diagonal, with Dykstra's
    correction (Higham 2002, algorithm 3.3); then eigenvalues are lifted to `smallest`, and the diagonal made 1. A
    matrix that is positive definite already comes back unchanged. Wide matrices get few iterations, each of which
    costs an eigendecomposition; the last step makes the result valid wherever the iteration stops.
    """
    if np.linalg.eigvalsh(matrix)[0] >= smallest:
        return matrix
    iterations = max_iterations if len(matrix) <= 200 else 5
    correction = np.zeros_like(matrix)
    current = matrix
    for _ in range(iterations):
        shifted = current - correction
        projected = _lift(shifted, 0.0)
        correction = projected - shifted
        previous, current = current, projected.copy()
        np.fill_diagonal(current, 1.0)
        if np.abs(current - previous).max() < 1e-5:
            break
    lifted = _lift(current, smallest)
    scale = 1.0 / np.sqrt(np.diag(lifted))
    result: Floats = lifted * np.outer(scale, scale)
    np.fill_diagonal(result, 1.0)
    return (result + result.T) / 2


def _lift(matrix: Floats, smallest: float) -> Floats:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    lifted: Floats = (vectors * np.maximum(values, smallest)) @ vectors.T
    return lifted
