"""
The transport and the clock of the imaginary world: whole nodes, deterministic from one seed.
"""
