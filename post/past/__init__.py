"""
Replicated blocks on k nodes of distinct owners (POST, section 2; PAST, SOSP 2001).
"""
