"""The published weights as data: names, files, digests, categories, scores."""
