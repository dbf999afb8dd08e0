"""Blackbox Model Provenance via Palimpsestic Membership Inference (Kuditipudi et al., NeurIPS 2025)."""
