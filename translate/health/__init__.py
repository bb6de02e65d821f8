"""Whether a GAN trains well: what is measured, what it means, and what can be done about it."""
