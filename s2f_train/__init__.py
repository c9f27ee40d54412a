"""Training of the networks whose exports s2f-edge runs. Needs torch (extra `train`).

Public are the commands, `python -m s2f_train --help`; modules may change with any version.
"""
