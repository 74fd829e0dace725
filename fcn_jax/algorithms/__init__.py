"""Faster algorithms for some layers on some platforms. They compute the same function."""
