"""Parity models: learned coded resilience for inference."""
