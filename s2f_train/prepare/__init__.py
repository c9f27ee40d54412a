"""Data sets of many layouts to one store for training: `python -m s2f_train prepare`."""
