"""The model pack: its folder, its manifest, and its networks in onnxruntime."""
