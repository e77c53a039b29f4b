"""How many threads the libraries below numpy may start."""

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Environment of a process in which they start none: one job is one core, and such threads wait busily."""
