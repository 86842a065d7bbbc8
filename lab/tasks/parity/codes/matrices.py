"""Codes that are matrices: answers are linear in predictions, and predictions in the answers that arrived.

A *generator* (W, k) makes W coded queries of k, and a *decoder* (k, W) estimates k predictions from W answers; its
columns of lost answers are 0. All are float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

__all__ = [
    "Matrix",
    "berrut",
    "chebyshev_points",
    "linear_decoder",
    "natural_spline",
    "query_points",
    "systematic_points",
    "vandermonde",
]

Matrix = NDArray[np.float64]
Interpolator = Callable[[Matrix, Matrix], Matrix]
"""Nodes (n,) and points (m,) to the matrix (m, n) from values at the nodes to values at the points."""


def vandermonde(k: int, r: int) -> Matrix:
    """Weights (r, k) of parity queries: row j is `(i + 1) ** j` for query i, so the first is plain addition.

    A Vandermonde matrix on increasing positive points is totally positive: each of its square parts can be inverted, so
    any r lost predictions follow from any r parities.
    """
    return np.vander(np.arange(1.0, k + 1), r, increasing=True).T


def linear_decoder(weights: Matrix, arrived: Sequence[bool]) -> Matrix:
    """The decoder of a systematic code whose parity queries are sums with `weights`.

    Args:
        weights: (r, k).
        arrived: for each of the k own answers, then each of the r parities, whether it came; at least k.

    Returns:
        (k, k + r): own answers that arrived pass as they are; where more parities came than are needed, the least
        squares solution.
    """
    r, k = weights.shape
    own, parity = np.array(arrived[:k], bool), np.array(arrived[k:], bool)
    decoder = np.zeros((k, k + r))
    decoder[own, np.flatnonzero(own)] = 1.0
    solve = np.linalg.pinv(weights[np.ix_(parity, ~own)])
    decoder[np.ix_(~own, k + np.flatnonzero(parity))] = solve
    decoder[np.ix_(~own, np.flatnonzero(own))] = -solve @ weights[np.ix_(parity, own)]
    return decoder


def query_points(k: int) -> Matrix:
    """Chebyshev points of the first kind, (k,), where the queries stand."""
    return np.cos((2 * np.arange(k) + 1) * np.pi / (2 * k))


def chebyshev_points(workers: int) -> Matrix:
    """Chebyshev points of the second kind, (W,), where the workers stand."""
    return np.cos(np.arange(workers) * np.pi / (workers - 1))


def systematic_points(k: int, r: int) -> tuple[Matrix, Matrix]:
    """Points of k queries, (k,), and of r parities spread evenly between them, (r,): together those of `query_points`.

    With k = 2 and r = 1 the parity is the mean of both queries.
    """
    points = query_points(k + r)
    parity = np.floor((np.arange(r) + 0.5) * (k + r) / r).astype(int)
    return np.delete(points, parity), points[parity]


def berrut(nodes: Matrix, points: Matrix) -> Matrix:
    """Berrut's rational interpolation (Berrut, Comput. Math. Appl. 1988), the code of BACC (Jahani-Nezhad and
    Maddah-Ali, arXiv 2009.08327) and ApproxIFER (Soleymani et al., arXiv 2109.09868).

    Signs alternate along the nodes that are used, in order: so it has no pole between them, whichever are missing.

    Args:
        nodes: (n,), different.
        points: (m,).

    Returns:
        (m, n); rows sum to 1, and a point on a node has the node's value.
    """
    signs = np.empty(len(nodes))
    signs[np.argsort(nodes)] = (-1.0) ** np.arange(len(nodes))
    distance = points[:, None] - nodes
    on_node = np.isclose(distance, 0.0, atol=1e-12)
    terms = signs / np.where(on_node, 1.0, distance)
    at_node = on_node.any(axis=1, keepdims=True)
    return np.where(at_node, on_node, terms / np.where(at_node, 1.0, terms.sum(axis=1, keepdims=True)))


def natural_spline(nodes: Matrix, points: Matrix, smoothing: float = 0.0) -> Matrix:
    """The natural cubic spline g that minimises `sum (y - g)^2 + smoothing * integral g''^2` (Green and Silverman,
    1994, section 2.3), the code of NeRCC and LeTCC (Moradi, Tahmasebi and Maddah-Ali, arXiv 2402.04377, 2406.16721).

    Beyond its outer nodes it goes on as a line. Two nodes have a line through them whatever the smoothing.

    Args:
        nodes: (n,), different, n >= 2.
        points: (m,).
        smoothing: >= 0; 0 interpolates.

    Returns:
        (m, n); rows sum to 1.
    """
    order = np.argsort(nodes)
    x, n = nodes[order], len(nodes)
    fitted: Matrix = np.eye(n)
    if n > 2 and smoothing:
        h = np.diff(x)
        q = np.zeros((n, n - 2))
        band = np.zeros((n - 2, n - 2))
        for j in range(n - 2):
            q[j : j + 3, j] = 1 / h[j], -1 / h[j] - 1 / h[j + 1], 1 / h[j + 1]
            band[j, j] = (h[j] + h[j + 1]) / 3
            if j:
                band[j - 1, j] = band[j, j - 1] = h[j] / 6
        fitted = np.linalg.solve(np.eye(n) + smoothing * q @ np.linalg.solve(band, q.T), fitted).astype(np.float64)
    spline = CubicSpline(x, fitted, bc_type="natural")
    inside = np.clip(points, x[0], x[-1])
    values = spline(inside) + (points - inside)[:, None] * spline(inside, 1)
    result = np.empty_like(values)
    result[:, order] = values
    return result
