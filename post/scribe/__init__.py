"""
Multicast to groups over Pastry (Castro, Druschel, Kermarrec, Rowstron: Scribe, 2002), for presence (POST, section 3.3).
"""
