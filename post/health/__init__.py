"""
How a node and its people's mail are: what the page, C{post status}, C{post doctor} and C{/metrics} say.

It looks, and changes nothing.
"""
