"""Networks that are built on the meta device to see whether they can be."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from augment.networks.meta_device import on_meta_device

CHECK = """
import sys
import torch
from augment.translators import translator_class, translator_names

for name in translator_names():
    method = translator_class(name)
    method.check_size(48, method.Settings())
    assert "torch._dynamo" not in sys.modules, name
torch.empty(2, device="meta").normal_()
assert "torch._dynamo" in sys.modules, "torch draws there by itself without its compiler"
"""


@pytest.mark.slow
def test_no_method_needs_torchs_compiler_to_check_a_size() -> None:
    subprocess.run([sys.executable, "-c", CHECK], check=True)


def test_only_what_has_no_values_is_left_undrawn() -> None:
    with on_meta_device():
        network = nn.Conv2d(1, 2, 3)
        nn.init.normal_(network.weight)
        nn.init.kaiming_normal_(network.weight)
        values = torch.zeros(100, device="cpu").normal_()
    assert network.weight.is_meta
    assert network.weight.shape == (2, 1, 3, 3)
    assert 0.5 < float(values.std()) < 1.5
