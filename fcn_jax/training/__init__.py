"""Training: the loss, optimizers, the compiled step, devices, checkpoints, and what a run writes.

`scripts/train.py` puts them together and shows what is where. Needs `pip install 'fcn_jax[train]'`.
The parts are imported one by one, from their own modules, since some bring large packages with them.
"""
