"""fcn-jax push: puts weights on the Hugging Face Hub, with a model card.

fcn-jax push runs/fields/best.safetensors user/fields --licence apache-2.0 --data "200 aerial pictures"

Needs `pip install 'fcn_jax[hub]'`, and `hf auth login` or HF_TOKEN.
"""

import argparse

from fcn_jax.backend import start_backend
from fcn_jax.sharing import push_to_hub
from fcn_jax.weights.hub import hub_file
from fcn_jax.zoo import list_models, load_model
from weights_converter import read_weights

OWN = ("format", "spec", "model", "num_classes", "sha256", "categories", "palette", "transforms", "preset")
"""Metadata that saving writes anew."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("weights", metavar="WEIGHTS", help="a checkpoint in any format that can be read")
    parser.add_argument("repo", metavar="USER/REPO", help="the repository; it is made if it does not exist")
    parser.add_argument(
        "--model", choices=list_models(), metavar="NAME", help="the model, if the file does not say which"
    )
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument(
        "--licence", metavar="KEY", help="the weights' licence for the card, such as apache-2.0 or cc-by-4.0"
    )
    parser.add_argument("--data", metavar="TEXT", help="what the weights were trained on, for the card")
    parser.add_argument("--message", default="Add weights of fcn_jax", metavar="TEXT", help="of the commit")


def run(options: argparse.Namespace) -> int:
    """Uploads, and prints the name under which the weights can be loaded."""
    start_backend()
    model = load_model(options.weights, model_name=options.model)
    metadata = read_weights(hub_file(options.weights)).metadata
    name = push_to_hub(
        model,
        options.repo,
        private=options.private,
        licence=options.licence,
        data=options.data,
        message=options.message,
        facts={key: text for key, text in metadata.items() if key not in OWN},
    )
    print(f"{name}: {model.spec}")
    print(f"To use it: fcn-jax segment PICTURE --weights {name._replace(revision=None)}")
    return 0
