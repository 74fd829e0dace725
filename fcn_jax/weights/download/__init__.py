"""Downloads of published weights: whole, verified, once."""
