"""For all tests: one thread of BLAS and OpenMP a process, as the verbs set it; two workers fill two cores."""

import bench.__main__  # noqa: F401  sets it where the caller has not
