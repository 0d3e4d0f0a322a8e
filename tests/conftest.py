"""What the tests share: the tiny model of `tiny.py`, in a folder that load_model() reads."""

import os
import tempfile

import pytest
import torch
from tiny import ROWS, save_tiny_model

from lorakit.models import load_model

# A check records the learner's progress, and the learner may be whoever runs these tests.
progress = tempfile.TemporaryDirectory(prefix="lorakit-tests-")
os.environ["LORAKIT_DATA"] = progress.name
torch.set_num_threads(1)  # on tensors this small a second thread costs more than it gives


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(tiny_folder):
    """A fresh tiny model and its tokenizer, in float32 on the CPU."""
    return load_model(tiny_folder, device="cpu")


@pytest.fixture
def tiny_nf4(tiny_folder):
    """The same with its linear layers in nf4."""
    return load_model(tiny_folder, quant_type="nf4", device="cpu")


@pytest.fixture
def rows():
    return [dict(row) for row in ROWS]
