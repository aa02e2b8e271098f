"""
IMAP4rev1 for the user's own mail program.
"""
