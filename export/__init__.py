"""From checkpoints to model packs. Needs torch and onnx (extra `train`); see `python -m export.to_onnx --help`.

Public are the commands; functions and classes may change with any version.
"""
