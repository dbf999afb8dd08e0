"""The memory subspace (Chavhan et al. 2024), carried over to language models."""
