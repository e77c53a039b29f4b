"""Memory that is freed stays with the process, for the next slice takes as much again."""

_KEPT_BYTES = 8 << 20
"""More than the arrays of one slice."""


def keep_freed_memory() -> None:
    """Let the process hold on to a few megabytes that it frees.

    The C library of most Linux systems asks the system for large blocks one by one, and gives back what is free at the
    end of the heap beyond a limit. A slice takes and frees half a megabyte, so by the accidents of that heap the system
    may have to clear up to a hundred pages anew for each. The limits follow the largest block ever freed (mallopt(3),
    ``M_MMAP_THRESHOLD``), so one that is never touched raises them. Elsewhere it does nothing, and nothing
    where the environment sets such limits.
    """
    bytes(_KEPT_BYTES)
