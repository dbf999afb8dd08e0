"""Memorized Images in Diffusion Models share a Subspace (Chavhan et al. 2024), on pictures."""
