"""Operators that compute the same as torch's, faster on some devices."""
