"""A face that speaks: motion from sound, and frames from motion."""
