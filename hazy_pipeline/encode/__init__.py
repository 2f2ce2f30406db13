"""Reversible encodings between tables and arrays; every state is plain JSON."""
