"""Stage 2: the only training loop, and the only place that owns an Accelerator for training."""
