"""Packed or not, a linear layer computes the same."""

import pytest
import torch
from torch.nn import functional as F

from workers.training import linear as module
from workers.training.linear import linear, packs


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 192), (33, 7)])
def test_it_is_the_linear_map(
    packed: bool, dtype: torch.dtype, bias: bool, inputs: int, outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    weight, shift = torch.randn(outputs, inputs, dtype=dtype), torch.randn(outputs, dtype=dtype) if bias else None
    if not packed:
        monkeypatch.setattr(module, "packs", lambda weight: False)
    elif not packs(weight):
        pytest.skip("this processor has no packed form")
    layer = linear(torch.nn.Parameter(weight), shift)
    for rows in (1, 16, 128, 300):
        batch = torch.randn(rows, inputs, dtype=dtype)
        found = layer(batch)
        assert not found.requires_grad
        close = {} if dtype == torch.float32 else {"atol": 0.1, "rtol": 0.02}
        torch.testing.assert_close(found, F.linear(batch, weight, shift), **close)


def test_other_kinds_of_numbers_are_not_packed() -> None:
    assert not packs(torch.randn(8, 8, dtype=torch.float64))
    assert not packs(torch.empty(8, 8, device="meta"))
