"""Generalized eigenvectors of pairs of second moments."""

import numpy
import torch
from scipy.linalg import eigh

from core.engine.workers.directions import RIDGE, directions


def test_directions_are_the_leading_generalized_eigenvectors():
    torch.manual_seed(0)
    x, y = torch.randn(400, 24) * torch.linspace(0.2, 3, 24), torch.randn(300, 24)
    taught, kept = x.T @ x / 400, y.T @ y / 300
    other = torch.randn(50, 24)
    found, beside = directions(torch.stack((taught, other.T @ other)), torch.stack((kept, taught)), 3)
    # Pairs that are computed together do not touch each other.
    alone = directions((other.T @ other)[None], taught[None], 3)[0]
    assert torch.cosine_similarity(beside, alone).abs().min() > 0.999
    ridged = kept + RIDGE * kept.diagonal().median() * torch.eye(24)
    values, vectors = eigh(taught.double().numpy(), ridged.double().numpy())
    for row, wanted in zip(found.double().numpy(), vectors.T[::-1], strict=False):
        cosine = row @ wanted / numpy.linalg.norm(row) / numpy.linalg.norm(wanted)
        assert abs(cosine) > 0.99
    assert list(values[-3:]) == sorted(values[-3:])


def test_what_no_token_has_to_keep_is_still_not_infinitely_free():
    # Fewer tokens than inputs: without a ridge there is no factorization.
    x, y = torch.randn(5, 16), torch.randn(4, 16)
    assert torch.isfinite(directions((x.T @ x)[None], (y.T @ y)[None], 2)).all()
    assert torch.isfinite(directions((x.T @ x)[None], torch.zeros(1, 16, 16), 2)).all()
