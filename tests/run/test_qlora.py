"""A language model with QLoRA, on a base model of another family that lies in a folder."""

from __future__ import annotations

import pytest

from journey import *  # noqa: F403

pytestmark = pytest.mark.run

CASE = "qlora"
