"""Downloads published weights: whole, verified, only once."""
