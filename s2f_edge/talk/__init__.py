"""Faces that say a recording: motion, pictures and video files."""
