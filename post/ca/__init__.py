"""
The authority: issues node and identity certificates, signs policy and directory.
"""
