"""
The gateway (POST, section 5): where the organisation's mail meets that of the Internet.
"""
