"""Restorative unlearning (RESTOR): do methods that unlearn false documents bring back what was known before?"""
