"""Recipes: YAML files with values only."""
