"""Fitting the speech gate of `s2f_edge.hearing.speech_gate`."""
