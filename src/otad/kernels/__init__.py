"""Compiled twins of what plain PyTorch does too slowly: `rank_cpu` (Numba) and `rank_gpu` (Triton).

They know nobody in otad and check no input. The plain versions in `otad.methods.matching.ranks` do, call these, and
remain the oracle they are tested against.
"""
