"""The command line: `python -m s2f_train`."""
