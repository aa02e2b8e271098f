"""
What the authority says to all, handed from node to node.
"""
