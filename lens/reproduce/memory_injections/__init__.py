"""Memory Injections (Sakarvadia et al., BlackboxNLP 2023)."""
