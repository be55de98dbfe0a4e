"""The linear end of rank matching, which both kernels share: from errors per member to a map."""

from __future__ import annotations

from torch import Tensor


def spread(errors: Tensor, weights: Tensor, n_rows: int, width: int) -> Tensor:
    """Give each window's errors to its members: member i of a window P gets Σ_j weights[i,j] errors[j; P].

    errors  : (T², …): [j] holds, for each pixel of the padded map in raster order, the error it has in the
              window that it is member j of.
    n_rows  : rows of windows; their members are the pixels of n_rows + T − 1 rows of this width.

    Returns (n_rows + T − 1, width).
    """
    size, stride = round(len(errors) ** 0.5), errors.stride(0)
    # Member (y,x) of the window that begins at pixel p is pixel p + y·width + x.
    shape = (size, size, n_rows, width - size + 1)
    members = errors.as_strided(shape, (size * stride + width, stride + 1, width, 1)).flatten(2).flatten(0, 1)
    result = errors.new_zeros(n_rows + size - 1, width)
    wanted = weights.any(dim=1).nonzero()[:, 0].tolist()
    given = weights[wanted].to(errors) @ members
    for member, one in zip(wanted, given.view(-1, *shape[2:]), strict=True):
        y, x = divmod(member, size)
        result[y : y + n_rows, x : x + shape[3]] += one
    return result
