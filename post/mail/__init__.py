"""
ePOST: electronic mail in terms of messaging (POST, section 4).  No sockets.
"""
