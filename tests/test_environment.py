"""No test sees what another set for its own processes."""

from __future__ import annotations

import logging
import os

from augment.core.progress import VERBOSITY_VARIABLE
from pipeline.core.messages import configure_logging


def test_the_first_sets_the_verbosity_as_the_option_quiet_does() -> None:
    configure_logging("quiet")
    assert os.environ[VERBOSITY_VARIABLE] == "quiet"
    assert not logging.getLogger("pipeline").isEnabledFor(logging.INFO)


def test_the_second_does_not_hear_of_it() -> None:
    assert os.environ.get(VERBOSITY_VARIABLE) != "quiet"
    assert logging.getLogger("pipeline").level == logging.NOTSET
