"""The Jacobian lens (Gurnee et al. 2026): bridge entities of two-hop questions, read and edited."""
