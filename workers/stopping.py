"""Whether this process has been told to stop. Imports nothing heavy: a worker that isolates its stages has no torch."""

import threading

shutting_down = threading.Event()
"""Set once the worker has been told to stop; every stage ends at its next safe point."""
