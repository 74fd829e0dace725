"""Scores weights on a dataset: `fcn-jax evaluate` for those who look among the scripts.

python scripts/evaluate.py --dataset camvid --data-dir CamVid --split test --weights best.safetensors
"""

import sys

from fcn_jax.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
