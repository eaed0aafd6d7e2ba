"""The directions in which inputs to be taught are largest, compared with those to be kept; on a CPU or a GPU.

Part of `entry`, in the engine's interpreter; belongs to `adapter_inputs`, which has what they are for. Needs only torch:
`early_card` computes some before anything else is imported.
"""

import torch

# Added to K, as a share of its median diagonal entry, and at least of the mean: what is not in these tokens may be in
# others.
RIDGE, LEAST_RIDGE = 0.1, 1e-4
# Of single precision, with sums over thousands of tokens.
ROUNDING = 1e-6
# Of the subspace iteration: steps, and directions beyond those wanted.
STEPS, SPARE = 12, 8


def directions(taught: torch.Tensor, kept: torch.Tensor, count: int) -> torch.Tensor:
    """Return the `count` leading generalized eigenvectors of pairs of second moments, as rows: (pairs, count, inputs).

    By subspace iteration on L⁻¹TL⁻ᵀ, where LLᵀ is K with its ridge; for all pairs together, since on a GPU small
    matrices take the time of a call. Where there are fewer than `count`, the last rows are zero.
    """
    diagonal, one = kept.diagonal(dim1=-2, dim2=-1), torch.eye(kept.shape[-1], device=kept.device)
    heard = taught.diagonal(dim1=-2, dim2=-1).mean(-1)
    least = torch.maximum(LEAST_RIDGE * diagonal.mean(-1), ROUNDING * heard)
    ridge = torch.maximum(RIDGE * diagonal.median(-1).values, least)
    lower, failed = torch.linalg.cholesky_ex(kept + ridge[:, None, None] * one)
    if failed.any():
        # Rounding made K indefinite; its largest eigenvalue is at most its trace.
        ridge = ridge + (failed > 0) * ROUNDING * diagonal.sum(-1)
        lower = torch.linalg.cholesky(kept + ridge[:, None, None] * one)
    inverse = torch.linalg.solve_triangular(lower, one, upper=False)
    ratio = inverse @ taught @ inverse.mT
    start = torch.Generator().manual_seed(0)
    basis = torch.randn(len(one), count + SPARE, generator=start).to(kept.device).expand(len(kept), -1, -1)
    for _ in range(STEPS):
        basis = _orthonormal(ratio @ basis)
    inner = basis.mT @ ratio @ basis
    _, turned = torch.linalg.eigh((inner + inner.mT) / 2)
    return (basis @ turned).flip(-1)[..., :count].mT @ inverse


def _orthonormal(columns: torch.Tensor) -> torch.Tensor:
    """Return orthonormal columns that span the same; zero where the given ones span less. Several matrices at once."""
    squares, turned = torch.linalg.eigh((columns.mT @ columns).double())
    real = squares > ROUNDING**2 * squares[..., -1:]
    scale = torch.where(real, squares.clamp(min=torch.finfo(squares.dtype).tiny).rsqrt(), 0.0)
    return columns @ (turned * scale[..., None, :]).float()
