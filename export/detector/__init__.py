"""WebRTC's voice activity detector for browsers."""
