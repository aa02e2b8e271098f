"""
The transport of the real world: mutually authenticated TLS links.
"""
