"""What `fcn-jax segment` does: finds pictures, names files, writes beside computing, and keeps a summary."""
