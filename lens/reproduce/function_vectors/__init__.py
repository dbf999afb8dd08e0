"""Function Vectors in Large Language Models (Todd et al., ICLR 2024)."""
