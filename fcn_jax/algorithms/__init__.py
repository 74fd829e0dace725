"""How layers are computed: other ways to the same function, faster on one platform or another."""
