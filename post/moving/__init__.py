"""
Moving in and out: mailboxes of other programs into a running node's account, and out of it.

A message goes in once, however often it is brought: the entry's key in the mailbox log follows from the folder, the
octets, and which of several equal copies it is.  So an import that was cut short is simply begun again, and what the
ring keeps, not a file on this machine, decides what is there.
"""
