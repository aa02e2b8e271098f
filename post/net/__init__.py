"""
The transport of the real world: mutually authenticated TLS links.

Reading order: L{framing <post.net.framing>} (bytes to frames), L{queue <post.net.queue>} (what waits to be sent),
L{messages <post.net.messages>} (what the ends of a link say to one another), L{link <post.net.link>} (one
connection), L{peers <post.net.peers>} (which of several links to a peer stays), L{transport <post.net.transport>}
(all of it behind L{post.interfaces.ITransport}).
"""
