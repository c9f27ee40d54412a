"""Training of the networks whose exports s2f-edge runs. Needs torch (extra `train`)."""
