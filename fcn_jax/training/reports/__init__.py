"""Reports of a training run: records, TensorBoard events, curves, a diagnosis."""
