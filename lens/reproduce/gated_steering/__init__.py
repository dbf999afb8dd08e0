"""Steering that acts only sometimes (SafeConstellations, SEAL): over-refusal and length of reasoning, with controls."""
