"""
Ways around: frames for a node that we do not reach go through one that reaches both.
"""
