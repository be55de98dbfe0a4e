import pytest
import torch

from otad.methods.matching.fca import FCA
from otad.methods.matching.loop import looped, senders
from otad.methods.matching.patch_statistics import sample_weighted_wasserstein
from otad.methods.matching.ranks import reference_values


@pytest.mark.parametrize("sigma_s", [None, 1.0])
def test_the_loop_and_the_package_give_the_same_maps(sigma_s):
    f = torch.rand(3, 13, 17, generator=torch.Generator().manual_seed(0))
    references = reference_values(f, 5, "random", 4, seed=7)
    random = {"reference": "random", "n_references": 4, "seed": 7, "ties": "index"}
    expected = {
        "SWW": sample_weighted_wasserstein(f, 5, 1.2, **random),
        "FCA": FCA(None, 5, 0.6, sigma_s, **random).score_features(f),
    }
    for name, (send, weights) in senders(5, 1.2, 0.6, sigma_s).items():
        found = looped(f, references, 5, send, weights)
        assert found.shape == (13, 17)
        torch.testing.assert_close(
            found / found.max(), expected[name] / expected[name].max(), atol=1e-5, rtol=0
        )
