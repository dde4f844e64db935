"""The worker: stages on their models."""

import os

# Read when torch is loaded. Its threads spin while they wait by default: on cores that other programs use too, a training step then takes
# many times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
