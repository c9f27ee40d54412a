import os

for library in ("OPENBLAS", "MKL"):
    # Before numpy is loaded. With several threads its sums differ in the last bit from run to run, and a fit that
    # was resumed would not be the same as one that was not. Torch has threads of its own.
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

from s2f_train.cli import app

app()
