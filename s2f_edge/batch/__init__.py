"""Faces for many recordings, in one process, many, or a Ray cluster."""
