"""From Memorization to Reasoning in the Spectrum of Loss Curvature (Merullo et al. 2025)."""
