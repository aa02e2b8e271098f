"""
What listens for people's mail programs.  It translates and never decides.
"""
