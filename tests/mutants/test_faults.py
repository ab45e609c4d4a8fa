"""The list of faults fits the project: `make mutants` would stop at the first that does not."""

import pytest

from tests.mutants.faults import FAULTS
from tests.shared import ROOT


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.file}: {fault.line}")
def test_its_line_occurs_once_and_its_tests_are_there(fault):
    assert (ROOT / fault.file).read_text("utf-8").count(fault.line) == 1
    assert fault.broken != fault.line
    assert (ROOT / fault.tests.split()[0].split("::")[0]).is_file()
