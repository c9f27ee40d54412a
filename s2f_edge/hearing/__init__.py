"""From a recording to what a voice network takes: decoding, speech, quality, features, windows."""
