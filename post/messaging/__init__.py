"""
POST proper: accounts, secure single-copy store, notification, single-writer logs (POST, section 3).
"""
