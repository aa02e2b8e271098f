"""
The routing overlay: leaf set, routing table, joining, liveness and repair (Rowstron and Druschel, Middleware 2001).
"""
