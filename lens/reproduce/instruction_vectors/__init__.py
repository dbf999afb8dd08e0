"""Interpretable Catastrophic Forgetting via Instruction Vector (Jiang et al. 2024), and its successor's loss (2025)."""
