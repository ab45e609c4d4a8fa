"""Few examples, the same ones every time; `IDBENCH_EXAMPLES=1000` (`make fuzz`) tries as many other ones."""

import atexit
import os
import tempfile

from hypothesis import configuration, settings

EXAMPLES = os.environ.get("IDBENCH_EXAMPLES")

# What hypothesis keeps of a run, it keeps in the current directory unless told otherwise.
_home = tempfile.TemporaryDirectory(prefix="idbench-hypothesis-")
atexit.register(_home.cleanup)
configuration.set_hypothesis_home_dir(_home.name)

settings.register_profile("suite", derandomize=True, deadline=None, max_examples=20, database=None)
settings.register_profile("many", deadline=None, max_examples=int(EXAMPLES or 1), database=None)
settings.load_profile("many" if EXAMPLES else "suite")
