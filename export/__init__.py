"""From checkpoints to model packs. Needs torch and onnx (extra `train`); see `python -m export.to_onnx --help`."""
