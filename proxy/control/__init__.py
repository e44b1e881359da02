"""The control plane: watches and steers, only by writing into Redis what the admission script reads."""
