"""Shipped pairs (`ioi.jsonl`, `facts.jsonl`), the filter's evidence and the code that made them; see README.md."""
