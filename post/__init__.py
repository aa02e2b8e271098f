"""
POST: serverless, secure messaging on the computers people already have.

One package per layer, each importing only what stands above it here:

  - the ground: C{errors ids hashes wire tasks complaints config interfaces rpc commit}
  - L{post.crypto}: keys, sealing, convergent encryption, certificates: bytes in, bytes out
  - L{post.pastry}: the routing overlay (Pastry)
  - L{post.past}: replicated blocks (POST, section 2)
  - L{post.messaging}: accounts, secure store, notification, logs (POST, section 3)
  - L{post.mail}: ePOST, electronic mail in terms of messaging (POST, section 4)
  - L{post.node}: a whole node, composed from transport, clock, chance, disk and keys
  - L{post.net} and L{post.sim}: the transport of the real world, and that of the imaginary one
  - L{post.smtp} and L{post.front}: what mail programs talk to
  - L{post.gateway}: mail servers of the Internet (POST, section 5)
  - L{post.ca}: the authority
  - L{post.daemon}: a node on the real network and disk
  - L{post.tap} and L{post.cli}: C{twistd post} and C{post}

Read next: C{ids.py}, C{pastry/leafset.py}, C{past/blocks.py}, C{messaging/log.py}, C{mail/folder.py}, C{node.py},
and C{tests/sim/test_offline_mail.py}, which tells the whole story once.
"""

__version__ = "0.1.0"
