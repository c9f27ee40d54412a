import os

# Before numpy is loaded. With several threads its sums differ in the last bit from run to run, and a fit that
# was resumed would not be the same as one that was not. PyPI's numpy has OpenBLAS; MKL is torch's, and with one
# thread of it the generator's transposed convolutions would leave all cores but one idle.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from s2f_train.cli.main import app

app()
